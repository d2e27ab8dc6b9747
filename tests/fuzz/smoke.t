#!/bin/sh
# Every fuzz target runs for 5 seconds on its corpus and finds nothing.  The targets are the same in each variant.
case ${VARIANT:-release} in release) ;; *) echo "1..0 # SKIP the release variant runs them"; exit 0 ;; esac
cd "$(dirname "$0")/../.." && exec env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -j2 fuzz-smoke
