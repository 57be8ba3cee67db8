# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# The build folders of the checks, each configured the first time that it is asked for.

JOBS=${JOBS:-$(nproc)}

# configure FOLDER COMPILER MESON-OPTION...
configure() {
	folder=$1 compiler=$2
	shift 2
	[ -e "$folder/build.ninja" ] || CC=$compiler meson setup "$folder" -Dwerror=true "$@" >/dev/null
	ninja -C "$folder" build.ninja >/dev/null # again, where a meson.build changed
}

# The build of the second compiler; its command lines are what clang's and LLVM's tools are told.
# Sources that the build writes itself are written, too, since the tools want to see them.
configure_clang() {
	configure build-clang clang
	ninja -C build-clang cli/page_parts.c >/dev/null
}

# project_sources FOLDER: the C files that the build in FOLDER compiles, each once.  Not those of tests/xfail/,
# which are wrong on purpose.
project_sources() {
	python3 - "$1" <<-'PYTHON'
		import json, os, sys
		with open(os.path.join(sys.argv[1], "compile_commands.json"), encoding="utf-8") as f:
		    commands = json.load(f)
		here = os.getcwd()
		paths = {os.path.relpath(os.path.join(c["directory"], c["file"]), here) for c in commands}
		print("\n".join(sorted(p for p in paths if p.endswith(".c")
		                       and not p.startswith(("build", "..", "tests/xfail/")))))
	PYTHON
}
