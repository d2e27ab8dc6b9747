#!/bin/bash
# check.sh UNIT… — runs every test, then those of ENGINE_TESTS with the engine that auto does not choose where the
# kernel grants io_uring.  What the failed ones said on stderr is said again behind prove's summary, where a log that
# is cut at its head still has it.  Tests wait more than they work: one more runs than there are processors.
set -o pipefail
said=build/$VARIANT/failures.txt
prove_all() { tests/lib/with_cluster prove -j"$(($(nproc) + 1))" --timer "$@" 2> >(tee -a "$said" >&2); }
: >"$said"
if prove_all tests/wire/*.t tests/[a-v]*/*.t "$@" && LUNAPOOL_ENGINE=epoll prove_all $ENGINE_TESTS; then
	echo "make check ($VARIANT): passed"
else
	echo "What the failed tests said, from $said:"
	grep -Ev '^#* *$|^20[0-9-]*T[0-9:.]*Z (debug|info|warn|error) ' "$said" | cut -c1-200 | head -c 1300
	echo; echo "make check ($VARIANT): failed"
	exit 1
fi
