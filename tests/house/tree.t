#!/bin/bash
# What holds for the tree itself: layers, and that generated files are what the program generates.
cd "$(dirname "$0")/../.."
program=build/${VARIANT:-release}/lunapool
echo 1..6
tap() { # number, name, command…: what it prints is shown when it fails
	n=$1 name=$2
	shift 2
	if text=$("$@" 2>&1); then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' <<<"$text"
	fi
}
tap 1 "includes follow src/LAYERS" tests/layers.sh
hops() {
	for hop in $(grep -o '\(src\|include\)/[a-z/]*\.[ch]\(:[a-z_]*\)\?' README.md); do
		file=${hop%%:*} function=${hop#"$file"}
		grep -q "^[A-Za-z].*\b${function#:}(" "$file" || { echo "README.md: $hop is not there"; bad=1; }
	done
	return ${bad:-0}
}
tap 2 "README.md names files and functions that are there" hops
tap 3 "docs/parameters.md is as generated (make docs)" diff docs/parameters.md <("$program" --docs params)
tap 4 "docs/commands.md is as generated (make docs)" diff docs/commands.md <("$program" --docs commands)
tap 5 "docs/statements.md is as generated (make docs)" diff docs/statements.md <("$program" --docs statements)
tap 6 "docs/metrics.md is as generated (make docs)" diff docs/metrics.md <("$program" --docs metrics)
