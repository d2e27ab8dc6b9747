#!/bin/sh
# Holds every #include "layer/x.h" in src/ and include/ to src/LAYERS.
set -eu
bad=0
for f in src/*/*.c src/*/*.h include/*/*.h; do
	[ -e "$f" ] || continue
	layer=$(basename "$(dirname "$f")")
	[ "$layer" = tbl ] && continue
	allowed=$(sed -n "s/^$layer: *//p" src/LAYERS)
	grep -q "^$layer:" src/LAYERS || { echo "$f: layer '$layer' is not in src/LAYERS"; bad=1; }
	for used in $(sed -n 's/^#include "\([a-z]*\)\/.*/\1/p' "$f" | sort -u); do
		case " $allowed $layer tbl " in
		*" $used "*) ;;
		*) echo "$f: includes $used/, which src/LAYERS does not allow"; bad=1 ;;
		esac
	done
done
exit $bad
