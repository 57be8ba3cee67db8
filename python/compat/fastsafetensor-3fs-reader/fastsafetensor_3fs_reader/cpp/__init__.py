# SPDX-License-Identifier: Apache-2.0
"""Where the compiled core of the package that this one replaces was."""
