# SPDX-License-Identifier: Apache-2.0
"""The harness of bench/run: see bench/README.md."""
