/*
 * questions — what the loader asks of a database's catalogue, with search_path = pg_catalog.  16384 is the first oid that is not PostgreSQL's
 * own (FirstNormalObjectId).
 */
#ifndef HA_QUESTIONS_H
#define HA_QUESTIONS_H

/* The row versions of what the other questions read, summed up: of functions, of who calls them, of what question_own reads; and the server's
 * version. */
#define QUESTION_SUM "coalesce(sum(hashint8(xmin::text::int8)),0) from "
static const char question_fingerprint[] =
    "with s(t, n, s) as ("
    "select 1, count(*), " QUESTION_SUM "pg_proc where oid>=16384"
    " union all select 2, count(*), " QUESTION_SUM "pg_extension"
    " union all select 3, count(*), " QUESTION_SUM "pg_trigger where tgfoid>=16384"
    " union all select 4, count(*), " QUESTION_SUM "pg_rewrite where oid>=16384"
    " union all select 5, count(*), " QUESTION_SUM "pg_attrdef"
    " union all select 6, count(*), " QUESTION_SUM "pg_constraint where oid>=16384"
    " union all select 7, count(*), " QUESTION_SUM "pg_policy"
    " union all select 8, count(*), " QUESTION_SUM "pg_operator where oid>=16384"
    " union all select 9, count(*), " QUESTION_SUM "pg_cast where oid>=16384"
    " union all select 10, count(*), " QUESTION_SUM "pg_inherits"
    " union all select 11, count(*), " QUESTION_SUM "pg_event_trigger"
    " union all select 12, count(*), " QUESTION_SUM "pg_class where oid>=16384"
    " and relkind in ('r','p','v','m','f','S') and relpersistence<>'t'"
    " union all select 13, count(*), " QUESTION_SUM "pg_class where oid>=16384 and (relkind='v' or relrowsecurity)"
    " union all select 14, count(*), " QUESTION_SUM "pg_type where typtype='d' and oid>=16384"
    " union all select 15, count(*), " QUESTION_SUM "pg_constraint where contypid<>0 and oid>=16384)"
    " select string_agg(n||':'||s, ' ' order by t) filter (where t<=2), string_agg(n||':'||s, ' ' order by t) filter (where t>2),"
    " string_agg(n||':'||s, ' ' order by t) filter (where t in (4,7,13,14,15)),"
    " current_setting('server_version_num') from s";

/* oid, version, name, language, extension, is it an aggregate, is its source kept as a tree (or empty), its length, volatility */
static const char question_functions[] =
    "select p.oid, p.xmin, p.proname, l.lanname, coalesce(e.extname,''), a.aggfnoid is not null, p.prosrc='', octet_length(p.prosrc),"
    " p.provolatile from pg_proc p join pg_language l on l.oid=p.prolang left join pg_aggregate a on a.aggfnoid=p.oid"
    " left join pg_depend d on d.classid='pg_proc'::regclass and d.objid=p.oid and d.deptype='e'"
    " left join pg_extension e on d.refclassid='pg_extension'::regclass and e.oid=d.refobjid where p.oid>=%u limit %u";

/* oid, source: NULL when it is too long.  The oids stand between this and QUESTION_END. */
#define QUESTION_END "}'::oid[])"
static const char question_sources[] =
    "select oid, case when octet_length(prosrc)<=500000 then prosrc end from pg_proc where oid=any('{";

/* The same of BEGIN ATOMIC … END, which only PostgreSQL 14 and later have; '' when it is empty indeed. */
static const char question_trees[] =
    "select oid, coalesce(pg_get_function_sqlbody(oid),'') from pg_proc where oid=any('{";

/*
 * Who calls whom: how ("b" always, "w" when it is written to, "m" reads it when it is written to or refreshed,
 * "s" takes a sequence's next value, "n" is not on a standby), kind, oid and name of the caller, kind and
 * oid of what it calls.  Kinds as in sql/learn.h.  Functions that PostgreSQL brings along stand in no pg_depend.
 */
#define QUESTION_USED(class) \
	" from pg_depend d join k on k.class=d.refclassid and d.refobjid>=16384 and d.classid='" class "'::regclass"
static const char question_edges[] =
    "with k(class, kind) as (values ('pg_proc'::regclass,'f'),('pg_operator'::regclass,'o'),('pg_class'::regclass,'r'),"
    "('pg_type'::regclass,'t'))"
    " select 'w', 'r', t.tgrelid, c.relname, 'f', t.tgfoid from pg_trigger t join pg_class c on c.oid=t.tgrelid"
    " where t.tgfoid>=16384 and t.tgenabled<>'D'"
    " union select case when r.ev_type='1' and c.relkind='v' then 'b' else 'm' end, 'r', r.ev_class, c.relname, k.kind, d.refobjid"
    QUESTION_USED("pg_rewrite")
    " join pg_rewrite r on r.oid=d.objid and r.ev_class<>d.refobjid join pg_class c on c.oid=r.ev_class"
    " union select 'w', 'r', x.adrelid, c.relname, k.kind, d.refobjid" QUESTION_USED("pg_attrdef")
    " join pg_attrdef x on x.oid=d.objid and x.adrelid<>d.refobjid join pg_class c on c.oid=x.adrelid"
    " union select 's', 'r', x.adrelid, c.relname, 'f', 0 from pg_depend d join pg_attrdef x on x.oid=d.objid"
    " join pg_class q on q.oid=d.refobjid and q.relkind='S' join pg_class c on c.oid=x.adrelid"
    " where d.classid='pg_attrdef'::regclass and d.refclassid='pg_class'::regclass"
    " union select 's', 'r', c.oid, c.relname, 'f', 0 from pg_class q join pg_depend d on d.classid='pg_class'::regclass"
    " and d.objid=q.oid and d.refclassid='pg_class'::regclass and d.deptype='i' join pg_class c on c.oid=d.refobjid"
    " where q.relkind='S'"
    " union select 'w', 'r', x.conrelid, c.relname, k.kind, d.refobjid" QUESTION_USED("pg_constraint")
    " join pg_constraint x on x.oid=d.objid and x.conrelid<>d.refobjid and x.contype<>'f' join pg_class c on c.oid=x.conrelid"
    " union select 'b', 't', x.contypid, y.typname, k.kind, d.refobjid" QUESTION_USED("pg_constraint")
    " join pg_constraint x on x.oid=d.objid and x.contypid<>d.refobjid join pg_type y on y.oid=x.contypid"
    " union select 'w', 'r', c.oid, c.relname, 't', d.refobjid from pg_depend d join pg_class c on c.oid=d.objid"
    " where d.classid='pg_class'::regclass and d.refclassid='pg_type'::regclass"
    " and d.refobjid in (select contypid from pg_constraint where contypid<>0)"
    " union select 'b', 'r', x.polrelid, c.relname, k.kind, d.refobjid" QUESTION_USED("pg_policy")
    " join pg_policy x on x.oid=d.objid and x.polrelid<>d.refobjid join pg_class c on c.oid=x.polrelid"
    " union select 'b', 'f', d.objid, '', k.kind, d.refobjid" QUESTION_USED("pg_proc") " where d.deptype='n' and k.kind<>'t'"
    " union select 'b', 'o', o.oid, o.oprname, 'f', o.oprcode from pg_operator o where o.oprcode>=16384"
    " union select 'b', 't', x.casttarget, y.typname, 'f', x.castfunc from pg_cast x join pg_type y on y.oid=x.casttarget"
    " where x.castfunc>=16384"
    " union select 'w', 'r', i.inhparent, c.relname, 'r', i.inhrelid from pg_inherits i join pg_class c on c.oid=i.inhparent"
    " union select 'w', 'r', x.confrelid, c.relname, 'r', x.conrelid from pg_constraint x join pg_class c on c.oid=x.confrelid"
    " where x.contype='f' and (x.confdeltype in ('c','n','d') or x.confupdtype in ('c','n','d')) and x.confrelid<>x.conrelid"
    " union select 'n', 'r', oid, relname, 'f', 0 from pg_class where oid>=16384 and relpersistence<>'t'"
    " and (relkind in ('S','f') or (relpersistence='u' and relkind in ('r','p')))"
    " union select 'b', 'r', i.inhparent, c.relname, 'r', i.inhrelid from pg_inherits i join pg_class c on c.oid=i.inhparent"
    " join pg_class child on child.oid=i.inhrelid where child.relkind in ('f','p') or (child.relkind='r' and child.relpersistence='u')"
    " union select 'b', 't', oid, typname, 't', typbasetype from pg_type where typtype='d' and typbasetype>=16384"
    " union select 'b', 'd', 0, '', 'f', evtfoid from pg_event_trigger where evtenabled<>'D' and evtfoid>=16384"
    " limit %u";

/*
 * Which functions ("f") and views ("r") of PostgreSQL's own, and locks of rows ("l"), are behind views, policies and domains: kind, oid and
 * name of who calls, reads or takes them, which of the three, its name.  pg_depend does not have them, so their oids are looked for in the stored trees.  What cannot be but a read is left out.
 */
static const char question_own[] =
    "with t(kind, oid, name, tree) as ("
    "select 'r', r.ev_class, c.relname, r.ev_action::text from pg_rewrite r join pg_class c on c.oid=r.ev_class"
    " where r.oid>=16384 and r.ev_type='1' and c.relkind='v'"
    " union all select 'r', x.polrelid, c.relname, concat(x.polqual::text, x.polwithcheck::text) from pg_policy x"
    " join pg_class c on c.oid=x.polrelid"
    " union all select 't', x.contypid, y.typname, x.conbin::text from pg_constraint x join pg_type y on y.oid=x.contypid"
    " where x.oid>=16384 and x.conbin is not null),"
    " u as (select distinct t.kind, t.oid, t.name, m[1] what, m[2]::oid called from t,"
    " regexp_matches(t.tree, '(:funcid|:aggfnoid|:winfnoid|:relid|\\{SQLVALUEFUNCTION :op) (\\d+)', 'g') m)"
    " select u.kind, u.oid, u.name, 'f', p.proname from u join pg_proc p on p.oid=u.called"
    " where u.what in (':funcid', ':aggfnoid', ':winfnoid') and p.oid<16384 and p.provolatile<>'i'"
    " union select u.kind, u.oid, u.name, 'r', c.relname from u join pg_class c on c.oid=u.called"
    " where u.what=':relid' and c.oid<16384"
    " union select kind, oid, name, 'l', '' from t where kind='r' and strpos(tree, '{ROWMARKCLAUSE ')>0"
    " union select kind, oid, name, 'f', 'now' from u where what like '{SQL%%' and called<=8"
    " limit %u";

#endif
