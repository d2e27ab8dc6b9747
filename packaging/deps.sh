#!/bin/sh
# Installs what building and testing need on Debian 12, if it is missing.  deps.sh build|demo|check|bench
set -eu
build="make gcc libc6-dev pkg-config libev-dev liburing-dev libpq-dev libssl-dev libpg-query-dev libprotobuf-c-dev libsystemd-dev libldap-dev
 libpam0g-dev libjansson-dev libluajit-5.1-dev libcurl4-openssl-dev libmicrohttpd-dev"
drivers="python3-psycopg2 python3-psycopg python3-asyncpg libdbd-pg-perl golang-go golang-github-lib-pq-dev openjdk-17-jdk-headless
 libpostgresql-jdbc-java prometheus-pgbouncer-exporter pgcli"
command -v npm >/dev/null || drivers="$drivers nodejs npm"
check="$build clang libclang-rt-14-dev perl libcmocka-dev postgresql-15 postgresql-client-15 postgresql-server-dev-15 libipc-run-perl
 python3 util-linux procps openssl sslscan slapd systemd $drivers"
bench="$check pgbouncer haproxy pgpool2 valgrind strace"
demo="$build postgresql-15 postgresql-client-15 util-linux"
case ${1:-build} in
build) want=$build ;;
demo) want=$demo ;;
check) want=$check ;;
bench) want=$bench ;;
*) echo "usage: deps.sh build|demo|check|bench" >&2; exit 2 ;;
esac
missing=
for p in $want; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
echo "installing:$missing" >&2
sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "missing packages and no way to install them (not root, no sudo):$missing" >&2; exit 1; }
	sudo=sudo
fi
export DEBIAN_FRONTEND=noninteractive
# PostgreSQL's package would start a server of its own on port 5432: not wanted.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
	$sudo mkdir -p /etc/postgresql-common
	echo "create_main_cluster = false" | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
# Nor is a directory of slapd's own.
case $missing in
*slapd*) echo "slapd slapd/no_configuration boolean true" | $sudo debconf-set-selections >&2 ;;
esac
$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
