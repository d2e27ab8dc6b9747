#!/bin/bash
# What holds for the tree itself: layers, and that generated files are what the program generates.
cd "$(dirname "$0")/../.."
program=build/${VARIANT:-release}/lunapool
echo 1..3
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
tap 2 "docs/parameters.md is as generated (make docs)" diff docs/parameters.md <("$program" --docs params)
tap 3 "docs/commands.md is as generated (make docs)" diff docs/commands.md <("$program" --docs commands)
