#!/bin/sh
# docs.sh PROGRAM: writes the generated pages in docs/ and the samples in conf.d/; unit tests compare them with the table.
set -eu
program=$1
sample() { # file, blocks
	file=conf.d/$1
	shift
	for block; do
		[ "$block" = "$1" ] || echo
		"$program" --docs sample "$block"
	done >"$file"
}
mkdir -p docs conf.d
"$program" --docs params >docs/parameters.md
"$program" --docs commands >docs/commands.md
"$program" --docs metrics >docs/metrics.md
mkdir -p lua/lunapool/meta
"$program" --docs meta >lua/lunapool/meta/lunapool.lua
"$program" --docs statements >docs/statements.md
sample 00-listen.conf global listen
sample 10-cluster.conf cluster
sample 20-pools.conf pool database limits
sample 30-auth.conf auth
sample 40-users.conf user
