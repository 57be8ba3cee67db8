#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# headers.sh SOURCE: each public header compiles alone, as C99 and as C++, without a warning.
set -u

source=$1
cc=${CC:-cc} cxx=${CXX:-c++}
# shellcheck source=tests/lib/report.sh
. "$source/tests/lib/report.sh"


# alone LANGUAGE HEADER COMPILER...: the declaration is there because a header may hold macros only.
alone() {
	language=$1 header=$2
	shift 2
	echo 'typedef int something;' |
		"$@" -Wall -Wextra -Wundef -pedantic -pedantic-errors -Werror -fsyntax-only \
			-I"$source/include" -include "$header" -x "$language" -
}

for header in "$source"/include/weir/*.h; do
	name=$(basename "$header" .h)
	run "${name}_as_C99" alone c "$header" "$cc" -std=c99
	run "${name}_as_CXX" alone c++ "$header" "$cxx" -std=c++11
done
report
