#!/bin/bash
# A private PostgreSQL primary with two streaming standbys, Lunapool in front of them, and a look at it.
#
#   packaging/demo.sh            a live table of nodes and pools, until Ctrl-C
#   DEMO_RUN='psql' demo.sh      runs that command with PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE set; exits with its status
#                                (make demo RUN=… does this; make itself says 2 whatever the failure was)
#
# The nodes have no TCP port: their sockets are in a folder that only their owner may enter.  Lunapool listens on a port that the kernel
# chooses.  stdout belongs to the command, or to the table; everything else is said on stderr.
set -eu
cd "$(dirname "$0")/.."
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
program=$PWD/build/lunapool
say() { echo "demo: $*" >&2; }

# PostgreSQL refuses to run as root; then it and Lunapool run as the user postgres.
owner=()
[ "$(id -u)" != 0 ] || owner=(setpriv --reuid=postgres --regid=postgres --clear-groups env -u HOME)
as() { "${owner[@]}" "$@"; }

# ---- a place that the owner of the cluster can use
home=$PWD/build/demo
if [ -e "$home/running" ] && kill -0 "$(cat "$home/running")" 2>/dev/null; then
	say "another demo of this tree is running (process $(cat "$home/running"))"
	exit 1
fi
rm -rf "$home"
mkdir -p "$home"
[ "$(id -u)" != 0 ] || chown postgres: "$home"
chmod 700 "$home"
moved=
if ! as test -w "$home" 2>/dev/null || ! as test -x "$program" 2>/dev/null; then
	moved="the user postgres may not look into $PWD"
elif [ ${#home} -gt 80 ]; then # a socket's path may have 107 bytes
	moved="the path of $home is too long for unix sockets"
fi
if [ -n "$moved" ]; then
	rm -rf "$home"
	home=$(mktemp -d /tmp/lunapool-demo.XXXXXX)
	say "$moved: using $home"
	cp "$program" "$home/lunapool"
	program=$home/lunapool
	[ "$(id -u)" != 0 ] || chown -R postgres: "$home"
fi
cd "$home"
echo $$ >running

# ---- the end, however it comes
proxy=
finish() {
	status=$?
	trap '' INT TERM HUP
	trap - EXIT
	cd /
	say "cleaning up"
	if [ -n "$proxy" ]; then
		kill -INT "$proxy" 2>/dev/null || true
		for _ in $(seq 100); do kill -0 "$proxy" 2>/dev/null || break; sleep 0.05; done
		kill -KILL "$proxy" 2>/dev/null || true
		wait "$proxy" 2>/dev/null || true
	fi
	for node in pg3 pg2 pg1; do
		[ ! -e "$home/$node/postmaster.pid" ] || as "$bin/pg_ctl" -D "$home/$node" -m immediate -s stop >/dev/null 2>&1 || true
	done
	rm -rf "$home"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
	say "$1; the log's end:"
	tail -n 20 "$2" >&2
	exit 1
}

# ---- three nodes
as mkdir sockets
configure_node() { # name, port (which only names the socket).  Beside the data: pg_rewind and pg_basebackup take over what is in there.
	as mkdir -p "etc/$1"
	printf '%s\n' "data_directory = '$home/$1'" "hba_file = '$home/$1/pg_hba.conf'" "ident_file = '$home/$1/pg_ident.conf'" \
		"port = $2" "listen_addresses = ''" "unix_socket_directories = '$home/sockets'" "cluster_name = 'demo'" \
		"fsync = off" "wal_log_hints = on" "wal_keep_size = 256MB" "shared_buffers = 32MB" |
		as tee "etc/$1/postgresql.conf" >/dev/null
}
start_node() { # name
	as "$bin/pg_ctl" -D "$home/etc/$1" -l "$home/$1.log" -w -t 60 -s start >&2 || fail "$1 does not start" "$1.log"
}
copy_node() { # name
	as "$bin/pg_basebackup" -h "$home/sockets" -p 5431 -U postgres -D "$home/$1" -R -c fast -X stream >&2
}
say "making a primary and two standbys in $home"
as "$bin/initdb" -D "$home/pg1" -U postgres -A trust -N -E UTF8 --locale=C.UTF-8 >initdb.log 2>&1 || fail "initdb fails" initdb.log
for i in 1 2 3; do configure_node pg$i 543$i; done
start_node pg1
copy_node pg2 &
copy_node pg3
wait $!
start_node pg2
start_node pg3
password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
as "$bin/psql" -X -q -h "$home/sockets" -p 5431 -U postgres -v ON_ERROR_STOP=1 >&2 <<-SQL
	create role lunapool login superuser;
	create role demo login;
	create database demo owner demo;
SQL

# ---- Lunapool
as mkdir conf.d
as mkdir -m 700 state
as tee conf.d/00-listen.conf >/dev/null <<-CONF
	state_dir = "../state"
	listen { address = "127.0.0.1"  port = 0 }
	auth   { hba_file = "../hba"  users_file = "../users"  admin_users = {"demo"} }
CONF
as tee conf.d/10-cluster.conf >/dev/null <<-CONF
	cluster "main" {
	  node "pg1" { host = "$home/sockets"  port = 5431  data_dir = "$home/pg1"  config_dir = "$home/etc/pg1"  bin_dir = "$bin" }
	  node "pg2" { host = "$home/sockets"  port = 5432  data_dir = "$home/pg2"  config_dir = "$home/etc/pg2"  bin_dir = "$bin" }
	  node "pg3" { host = "$home/sockets"  port = 5433  data_dir = "$home/pg3"  config_dir = "$home/etc/pg3"  bin_dir = "$bin" }
	  service_user = "lunapool"
	  failover = auto
	  policy = "../failover.lua"
	}
CONF
as tee conf.d/20-pools.conf >/dev/null <<-CONF
	pool { mode = transaction  size = 10 }
	database "*" { cluster = "main" }
CONF
echo 'return require "lunapool.by" { here = true, rebuild = true } -- promotes, rewinds, copies and starts nodes with the programs in bin_dir' | as tee failover.lua >/dev/null
echo 'host all demo 127.0.0.1/32 scram-sha-256' | as tee hba >/dev/null
echo "\"demo\" \"$password\"" | as tee users >/dev/null
as chmod 600 users
: >lunapool.log
"${owner[@]}" "$program" -c "$home/conf.d" >>lunapool.log 2>&1 &
proxy=$!
port=
for _ in $(seq 200); do
	port=$(sed -n 's/.* listening address=127\.0\.0\.1 port=\([0-9]*\).*/\1/p' lunapool.log | head -1)
	[ -z "$port" ] || ! grep -q ' started ' lunapool.log || break
	kill -0 "$proxy" 2>/dev/null || { proxy=; fail "lunapool does not start" lunapool.log; }
	sleep 0.05
done
[ -n "$port" ] || fail "lunapool does not listen" lunapool.log
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=demo PGPASSWORD=$password PGDATABASE=demo PATH=$bin:$PATH
psql -X -q -c 'select 1' >/dev/null 2>first.log || fail "no answer through lunapool: $(cat first.log)" lunapool.log

# ---- what it is for
if [ -n "${DEMO_RUN:-}" ]; then
	cd "$OLDPWD"
	status=0
	sh -c "$DEMO_RUN" || status=$?
	exit "$status"
fi
show() { # a table, and those of its columns that tell most
	psql -X -q -A -P footer=off -d lunapool -c "SHOW $1" | awk -F'|' -v wanted="$2" '
		NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; n = split(wanted, name, " ") }
		{ for (i = 1; i <= n; i++) { v = $at[name[i]]; cell[NR, i] = v == "" ? "-" : v; w = length(cell[NR, i]); if (w > wide[i]) wide[i] = w } }
		END { for (r = 1; r <= NR; r++) { line = ""; for (i = 1; i <= n; i++) line = line sprintf("%-*s  ", wide[i], cell[r, i]); print line } }'
}
table() {
	show NODES "node role state sv_active sv_idle reads position timeline lag_bytes reason"
	echo
	show POOLS "database user node cl_active cl_waiting sv_active sv_idle"
}
while :; do
	text=$(table 2>&1 || true)
	[ ! -t 1 ] || printf '\033[H\033[2J'
	cat <<-TEXT
		Lunapool at 127.0.0.1:$port, in front of a primary and two standbys.  Ctrl-C ends and removes everything.

		  export PGHOST=127.0.0.1 PGPORT=$port PGUSER=demo PGPASSWORD=$password PGDATABASE=demo
		  psql                                     the application's view
		  psql lunapool -c 'SHOW HELP'             the console
		  $bin/pgbench -i && $bin/pgbench -c 50 -T 10
		  psql lunapool -c SWITCHOVER              another primary, and nobody notices
		  $bin/pg_ctl -D $home/pg1 -m immediate stop     … or the hard way
		  psql lunapool -x -c 'SHOW OPERATIONS'    what was done then, and why
		  kill -HUP $proxy                         after a change in $home/conf.d

		$text
	TEXT
	kill -0 "$proxy" 2>/dev/null || fail "lunapool has ended" lunapool.log
	sleep 1
done
