#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# install.sh SOURCE BUILD: installs into a temporary tree, and there compiles and runs a consumer in C
# and in C++, shared and static, with nothing but what pkg-config says; then looks at what was installed.
set -u

source=$1 build=$2
cc=${CC:-cc} cxx=${CXX:-c++}
# shellcheck source=tests/lib/report.sh
. "$source/tests/lib/report.sh"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
warnings='-Wall -Wextra -pedantic -Werror'

install_tree() {
	DESTDIR="$root/tree" meson install -C "$build" --no-rebuild
}

# pkg-config of the installed tree, with its prefix moved below the temporary one.
config() {
	PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --define-variable=prefix="$root/tree$prefix" "$@" weir
}

compile_and_run() {
	compiler=$1 standard=$2 language=$3 out=$root/consumer
	shift 3
	# shellcheck disable=SC2046,SC2086 # words are meant
	$compiler -std=$standard $warnings $SANITIZE -x $language "$source/tests/integration/consumer.c" \
		-x none -o "$out" $(config --cflags) "$@" &&
		cd "$root" && LD_LIBRARY_PATH=$libdir "$out"
}

all_headers_are_there() {
	(cd "$source/include/weir" && ls -- *.h) >"$root/wanted"
	(cd "$root/tree$prefix/include/weir" && ls) >"$root/found"
	diff "$root/wanted" "$root/found"
}

command_runs() {
	LD_LIBRARY_PATH=$libdir "$root/tree$prefix/bin/weir" --version
}

nothing_names_the_build() {
	! grep -rIl -e "$source" -e "$root" "$root/tree"
}

manual_and_completion() {
	share=$root/tree$prefix/share
	ls "$share/man/man1/weir.1" "$share/man/man3/weir.3" "$share/man/man7/weir.7" \
		"$share/bash-completion/completions/weir" "$share/zsh/site-functions/_weir" &&
		for verb in inspect verify load make-model doctor bench-load ls cat cp; do
			[ -s "$share/man/man1/weir-$verb.1" ] || return 1
		done
}

version_is_one() {
	header=$(awk '/define WEIR_VERSION_/ { printf "%s%s", dot, $3; dot = "." }' \
		"$source/include/weir/weir.h")
	[ "$header" = "$(config --modversion)" ] && [ -e "$libdir/libweir.so.$header" ]
}

run install install_tree
pc=$(find "$root/tree" -name weir.pc)
[ -n "$pc" ] || {
	echo "FAIL no weir.pc"
	exit 1
}
libdir=$(dirname "$(dirname "$pc")")
prefix=$(pkg-config --variable=prefix "$pc")
# A library built with a sanitizer needs a program that is.
SANITIZE=
case $(nm -D "$libdir/libweir.so" | tr '\n' ' ') in
*__asan_init*) SANITIZE=-fsanitize=address,undefined ;;
*__tsan_init*) SANITIZE=-fsanitize=thread ;;
*__ubsan_*) SANITIZE=-fsanitize=undefined ;;
esac

# shellcheck disable=SC2046
{
	run C_shared compile_and_run "$cc" c99 c $(config --libs)
	run CXX_shared compile_and_run "$cxx" c++11 c++ $(config --libs)
	run C_static compile_and_run "$cc" c99 c "$libdir/libweir.a" $(config --static --libs | sed 's/-lweir//')
	run CXX_static compile_and_run "$cxx" c++11 c++ "$libdir/libweir.a" $(config --static --libs | sed 's/-lweir//')
}
run headers all_headers_are_there
run command command_runs
run manual_and_completion manual_and_completion
run no_path_of_the_build nothing_names_the_build
run one_version version_is_one
report
