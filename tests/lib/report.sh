# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What tests/lib/check.h is for programs, this is for scripts: `run NAME COMMAND...` runs one case and
# says how it ended; `report` prints the closing line and gives the exit status.  What a case prints is
# shown only when it fails.  Exit status 77 of a case skips it.

report_passed=0 report_failed=0 report_skipped=0

run() {
	report_name=$1
	shift
	report_status=0
	report_output=$("$@" 2>&1) || report_status=$?
	case $report_status in
	0)
		report_passed=$((report_passed + 1))
		echo "ok $report_name"
		;;
	77)
		report_skipped=$((report_skipped + 1))
		echo "SKIP $report_name"
		;;
	*)
		report_failed=$((report_failed + 1))
		echo "FAIL $report_name"
		printf '%s\n' "$report_output" | sed 's/^/    /'
		;;
	esac
}

report() {
	echo "$report_passed passed, $report_failed failed, $report_skipped skipped"
	[ "$report_failed" = 0 ]
}
