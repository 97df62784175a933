# SPDX-License-Identifier: ISC
"""What the integration tests share: TAP, the proxy under test, peers on both of its sides, payloads."""
