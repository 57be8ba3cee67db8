#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# caught.sh PATTERN COMMAND...: passes when the command fails and its report matches the pattern.  A
# sanitizer that is not linked in, or that was told to be quiet, would let every other test pass.
set -u

pattern=$1
shift
if report=$("$@" 2>&1); then
	echo "nothing was caught: $*"
	exit 1
fi
echo "$report" | grep -q "$pattern" || {
	echo "failed without the report '$pattern':"
	echo "$report"
	exit 1
}
