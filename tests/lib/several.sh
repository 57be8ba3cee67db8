# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# As report.sh, for cases that each keep one processor busy for a while: `several COMMAND...` starts a case
# as soon as a processor is free; `several_end` waits, shows what each printed, in the order in which they
# were started, prints the closing line, and gives the exit status.  A case passes if its command does.

several_jobs=${JOBS:-$(nproc)}
several_dir=$(mktemp -d)
several_started=0

several() {
	local case=$several_dir/$((several_started++))
	while [ "$(jobs -rp | wc -l)" -ge "$several_jobs" ]; do
		wait -n || :
	done
	{ "$@" && : >"$case.passed"; } >"$case" 2>&1 &
}

several_end() {
	local passed=0 case
	wait
	for ((case = 0; case < several_started; case++)); do
		cat "$several_dir/$case"
		[ ! -e "$several_dir/$case.passed" ] || passed=$((passed + 1))
	done
	rm -rf "$several_dir"
	echo "$passed passed, $((several_started - passed)) failed, 0 skipped"
	[ $passed = $several_started ]
}
