"""The statements of docs/statements.md, and a database in which they mean something."""
import re

from harness import ROOT

SETUP = r"""
create sequence s;
create table t (a int primary key, b text); insert into t select i, 'x' || i from generate_series(1, 5) i;
create table p (a int, b text) partition by list (a); create table p1 partition of p default; insert into p select * from t;
create view v as select a, b from t;
create unlogged table unlogged_t (a int);
create table partly_unlogged (a int) partition by list (a); create table partly_2 partition of partly_unlogged for values in (2) partition by list (a);
create unlogged table partly_22 partition of partly_2 default;
create extension file_fdw; create server files foreign data wrapper file_fdw;
create foreign table foreign_t (a int) server files options (program 'echo 1');
create function immutable_f(int) returns int immutable language sql as 'select $1 + 1';
create function stable_f(int) returns int stable language sql as 'select count(*)::int + $1 from t';
create function volatile_f(int) returns int language sql as 'select $1';
create materialized view m as select volatile_f(a) a from t;
create function both_f(int) returns int stable language sql as 'select $1';
create function both_f(text) returns text volatile language sql as 'select $1';
create function calls_volatile_f(int) returns int stable language plpgsql as 'begin return volatile_f($1); end';
create function volatile_op(int, int) returns bool language sql as 'select $1 = volatile_f($2)';
create operator <~~> (leftarg = int, rightarg = int, function = volatile_op);
create domain dom as int check (volatile_f(value) > 0);
create table guarded (a int); insert into guarded select a from t; alter table guarded enable row level security;
create policy by_stable on guarded using (stable_f(a) > 0);
create view v_hidden as select volatile_f(1);
create view v_nextval as select nextval('s');
create view v_pid as select pg_backend_pid();
create view v_now as select now();
create view v_activity as select count(*) from pg_stat_activity;
create view v_locking as select a from t for update;
create procedure procedure_p() language sql as 'select 1';
create function row_f(t) returns int language sql as 'select 1';
create type comp as (d dom);
create function takes_dom(dom) returns int immutable language sql as 'select 1';
create function names_dom(int) returns int stable language plpgsql as 'declare x dom := $1; begin return x; end';
create function by_default_f(a int default pg_backend_pid()) returns int immutable language sql as 'select $1';
create function uses_operator(int) returns bool stable language plpgsql as 'begin return $1 <~~> 1; end';
create type box2 as (x int); create function box_to_int(box2) returns int language sql as 'select ($1).x';
create cast (box2 as int) with function box_to_int(box2); create table boxes (b box2); insert into boxes values ('(1)');
create table inherited (a int); create table inherited_2 () inherits (inherited); create unlogged table inherited_3 () inherits (inherited_2);
"""


def statements():
    """For each: the statement, where it may run, why."""
    with open(f'{ROOT}/docs/statements.md') as f:
        found = re.findall(r'^\| `(.*)` \| (.*?) \| (.*?) \|$', f.read(), re.M)
    return [(sql.replace(r'\|', '|'), where, why) for sql, where, why in found]
