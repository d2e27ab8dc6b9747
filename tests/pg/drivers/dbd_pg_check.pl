#!/usr/bin/perl
# DBD::Pg: prepared statements from the second execution on, savepoints, COPY, NOTIFY.
use strict;
use warnings;
use open qw(:std :utf8);
use DBI;
use DBD::Pg qw(:pg_types);

my $failed = 0;
sub ok { my ($value, $name) = @_; $failed++ unless $value; print(($value ? 'ok ' : 'not ok '), "$name\n"); }
sub same { my ($got, $want, $name) = @_; my $good = defined $got && $got eq $want; ok($good, $good ? $name : "$name: got '" . ($got // 'undef') . "', wanted '$want'"); }
sub db { return DBI->connect('dbi:Pg:', undef, undef, { RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_enable_utf8 => 1, @_ }); }

my $db = db();
my @row = $db->selectrow_array('select ?::int, ?::text, ?::numeric, ?::bool, ?::date, ?::int[]', undef, 1, "\x{17e}'\\", '1.50', 1,
	'2024-02-29', [1, 2]);
$row[5] = "@{$row[5]}";
same(join('|', @row), "1|\x{17e}'\\|1.50|1|2024-02-29|1 2", 'types come back');
my $raw = $db->prepare('select ?::bytea');
$raw->bind_param(1, "\0\1\xff", { pg_type => PG_BYTEA });
$raw->execute;
same(unpack('H*', ($raw->fetchrow_array)[0]), '0001ff', 'bytea');

my $st = $db->prepare('select ?::int * 2');
same(join(',', map { $st->execute($_); ($st->fetchrow_array)[0] } 1 .. 20), join(',', map { 2 * $_ } 1 .. 20), 'a statement executed twenty times');

$db->do('create table tx_dbd (n int)');
$db->begin_work;
$db->do('insert into tx_dbd values (1)');
$db->rollback;
$db->begin_work;
$db->do('insert into tx_dbd values (?)', undef, 2);
$db->pg_savepoint('a');
eval { $db->do('insert into tx_dbd values (1/0)') };
same($db->state, '22012', 'an error is raised');
$db->pg_rollback_to('a');
$db->do('insert into tx_dbd values (?)', undef, 3);
$db->commit;
same(join(',', @{ $db->selectcol_arrayref('select n from tx_dbd order by n') }), '2,3', 'what was committed is there, what was rolled back is not');
same(join(',', map { eval { $st->execute('x') }; $db->state } 1 .. 5), join(',', ('22P02') x 5), 'errors of a prepared statement');
$st->execute(21);
same(($st->fetchrow_array)[0], 42, 'it goes on after them');

$db->do('create table copied_dbd (n int, t text)');
$db->do('copy copied_dbd from stdin');
$db->pg_putcopydata("$_\trow $_\n") for 0 .. 4999;
$db->pg_putcopyend;
$db->do('copy (select * from copied_dbd order by n) to stdout');
my ($all, $row) = ('');
$all .= $row while $db->pg_getcopydata($row) >= 0;
same($all, join('', map { "$_\trow $_\n" } 0 .. 4999), 'COPY both ways');

$db->do('listen dbd_channel');
db()->do("notify dbd_channel, 'hello'");
my $n;
for (1 .. 200) { $n = $db->pg_notifies and last; select undef, undef, undef, 0.05 }
same($n ? $n->[2] : '', 'hello', 'a notification arrives');
$_->finish for $raw, $st;
$db->disconnect;

my %kid;
for my $i (0 .. 7) {
	my $pid = fork;
	if ($pid) { $kid{$pid} = $i; next }
	my $c = db();
	$c->do("set application_name = 'crowd$i'");
	my $echo = $c->prepare("select current_setting('application_name'), ?::text");
	for my $n (0 .. 39) {
		$c->begin_work if $n % 2;
		$echo->execute("$i:$n");
		my ($name, $tag) = $echo->fetchrow_array;
		exit 1 if $name ne "crowd$i" || $tag ne "$i:$n";
		$n % 4 == 1 ? $c->commit : $c->rollback if $n % 2;
	}
	exit 0;
}
my $bad = 0;
while ((my $pid = wait) > 0) { $bad++ if $? }
same($bad, 0, 'eight connections see their own rows and settings');
exit($failed ? 1 : 0);
