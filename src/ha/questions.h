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
    " and relkind in ('r','p','v','m','f','S','c') and relpersistence<>'t'"
    " union all select 13, count(*), " QUESTION_SUM "pg_class where oid>=16384 and (relkind='v' or relrowsecurity)"
    " union all select 14, count(*), " QUESTION_SUM "pg_type where typtype='d' and oid>=16384"
    " union all select 15, count(*), " QUESTION_SUM "pg_constraint where contypid<>0 and oid>=16384"
    " union all select 16, count(*), " QUESTION_SUM "pg_amproc where amproc>=16384"
    " union all select 17, count(*), " QUESTION_SUM "pg_index where indexprs is not null or indpred is not null"
    " union all select 18, count(*), " QUESTION_SUM "pg_type where typtype in ('b','r') and typelem=0 and oid>=16384)"
    " select string_agg(n||':'||s, ' ' order by t) filter (where t<=2), string_agg(n||':'||s, ' ' order by t) filter (where t>2),"
    " string_agg(n||':'||s, ' ' order by t) filter (where t in (4,7,13,14,15)),"
    " current_setting('server_version_num') from s";

/* oid, version, name, language, extension, is it an aggregate, is its source kept as a tree (or empty), its length, volatility,
 * may it be called with a row alone */
static const char question_functions[] =
    "select p.oid, p.xmin, p.proname, l.lanname, coalesce(e.extname,''), a.aggfnoid is not null, p.prosrc='', octet_length(p.prosrc),"
    " p.provolatile, p.pronargs>0 and p.pronargs-p.pronargdefaults<=1 and exists (select from pg_type y where y.oid=p.proargtypes[0]"
    " and y.typtype in ('c','p','d')) from pg_proc p join pg_language l on l.oid=p.prolang left join pg_aggregate a on a.aggfnoid=p.oid"
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
 * "s" takes a sequence's next value, "n" is not on a standby, "k" is there, "x" calls the function of PostgreSQL's own that is named last), kind,
 * oid and name of the caller, kind and oid of what it calls, a name.  Kinds as in sql/learn.h.  Functions that PostgreSQL brings along stand in no
 * pg_depend, so they are looked for in the stored trees.
 *
 * within: which type has which others inside, or is made of them.  seed: types of which a function of a user is called unsaid, by a check or a
 * default, a cast, a comparison; odd: these and all that have them inside.
 */
#define QUESTION_USED(class) \
	" from pg_depend d join k on k.class=d.refclassid and d.refobjid>=16384 and d.classid='" class "'::regclass"
static const char question_edges[] =
    "with recursive k(class, kind) as (values ('pg_proc'::regclass,'f'),('pg_operator'::regclass,'o'),('pg_class'::regclass,'r'),"
    "('pg_type'::regclass,'t')),"
    " within(small, large) as (select refobjid, objid from pg_depend where classid='pg_type'::regclass"
    " and refclassid='pg_type'::regclass"
    " union select d.refobjid, c.reltype from pg_depend d join pg_class c on c.oid=d.objid where d.classid='pg_class'::regclass"
    " and d.refclassid='pg_type'::regclass and c.reltype<>0),"
    " compared(type, fn) as (select o.opcintype, p.amproc from pg_opclass o join pg_amproc p on p.amprocfamily=o.opcfamily"
    " and p.amproclefttype=o.opcintype where o.opcintype>=16384 and p.amproc>=16384 and o.opcdefault),"
    " seed(type) as (select contypid from pg_constraint where contypid<>0 union select oid from pg_type where typtype='d'"
    " and typdefaultbin is not null union select castsource from pg_cast where castfunc>=16384 and castsource>=16384"
    " union select casttarget from pg_cast where castfunc>=16384 and casttarget>=16384 union select type from compared),"
    " odd(type) as (select type from seed union select w.large from within w join odd on odd.type=w.small),"
    " own(kind, oid, name, tree) as (select 'r', x.adrelid, c.relname, x.adbin::text from pg_attrdef x join pg_class c on c.oid=x.adrelid"
    " union all select 'r', x.conrelid, c.relname, x.conbin::text from pg_constraint x join pg_class c on c.oid=x.conrelid"
    " where x.conbin is not null and x.oid>=16384"
    " union all select 'r', t.tgrelid, c.relname, t.tgqual::text from pg_trigger t join pg_class c on c.oid=t.tgrelid"
    " where t.tgqual is not null"
    " union all select 'r', r.ev_class, c.relname, concat(r.ev_qual::text, r.ev_action::text) from pg_rewrite r"
    " join pg_class c on c.oid=r.ev_class where r.ev_type<>'1' and r.oid>=16384"
    " union all select 't', oid, typname, typdefaultbin::text from pg_type where typtype='d' and typdefaultbin is not null"
    " union all select 'f', oid, proname, proargdefaults::text from pg_proc where proargdefaults is not null and oid>=16384)"
    " select 'w', 'r', t.tgrelid, c.relname, k.kind, d.refobjid, ''" QUESTION_USED("pg_trigger")
    " join pg_trigger t on t.oid=d.objid and t.tgrelid<>d.refobjid join pg_class c on c.oid=t.tgrelid where t.tgenabled<>'D'"
    " union select case when r.ev_type='1' and c.relkind='v' then 'b' else 'm' end, 'r', r.ev_class, c.relname, k.kind, d.refobjid, ''"
    QUESTION_USED("pg_rewrite")
    " join pg_rewrite r on r.oid=d.objid and r.ev_class<>d.refobjid join pg_class c on c.oid=r.ev_class"
    " union select 'w', 'r', x.adrelid, c.relname, k.kind, d.refobjid, ''" QUESTION_USED("pg_attrdef")
    " join pg_attrdef x on x.oid=d.objid and x.adrelid<>d.refobjid join pg_class c on c.oid=x.adrelid"
    " union select 'w', 'r', c.oid, c.relname, k.kind, d.refobjid, ''" QUESTION_USED("pg_class")
    " left join pg_index x on x.indexrelid=d.objid join pg_class c on c.oid=coalesce(x.indrelid, d.objid) and c.relkind in ('r','p','m')"
    " where k.kind in ('f','o')"
    " union select 's', 'r', x.adrelid, c.relname, 'f', 0, '' from pg_depend d join pg_attrdef x on x.oid=d.objid"
    " join pg_class q on q.oid=d.refobjid and q.relkind='S' join pg_class c on c.oid=x.adrelid"
    " where d.classid='pg_attrdef'::regclass and d.refclassid='pg_class'::regclass"
    " union select 's', 'r', c.oid, c.relname, 'f', 0, '' from pg_class q join pg_depend d on d.classid='pg_class'::regclass"
    " and d.objid=q.oid and d.refclassid='pg_class'::regclass and d.deptype='i' join pg_class c on c.oid=d.refobjid"
    " where q.relkind='S'"
    " union select 'w', 'r', x.conrelid, c.relname, k.kind, d.refobjid, ''" QUESTION_USED("pg_constraint")
    " join pg_constraint x on x.oid=d.objid and x.conrelid<>d.refobjid and x.contype<>'f' join pg_class c on c.oid=x.conrelid"
    " union select 'b', 't', x.contypid, y.typname, k.kind, d.refobjid, ''" QUESTION_USED("pg_constraint")
    " join pg_constraint x on x.oid=d.objid and x.contypid<>d.refobjid join pg_type y on y.oid=x.contypid"
    " union select 'b', 't', y.oid, y.typname, k.kind, d.refobjid, ''" QUESTION_USED("pg_type")
    " join pg_type y on y.oid=d.objid and y.typtype='d' where k.kind<>'t'"
    " union select 'b', 't', w.large, y.typname, 't', w.small, '' from within w join odd on odd.type=w.small join pg_type y on y.oid=w.large"
    " union select 'b', 'v', w.large, '', 'v', w.small, '' from within w join odd on odd.type=w.small"
    " union select 'b', 't', odd.type, y.typname, 'v', odd.type, '' from odd join pg_type y on y.oid=odd.type"
    " union select 'b', 'r', c.oid, c.relname, 'v', d.refobjid, '' from pg_depend d join odd on odd.type=d.refobjid"
    " join pg_class c on c.oid=d.objid where d.classid='pg_class'::regclass and d.refclassid='pg_type'::regclass"
    " union select 'w', 'r', c.oid, c.relname, 't', d.refobjid, '' from pg_depend d join odd on odd.type=d.refobjid"
    " join pg_class c on c.oid=d.objid where d.classid='pg_class'::regclass and d.refclassid='pg_type'::regclass"
    " union select 'b', 'v', type, '', 'f', fn, '' from compared"
    " union select 'b', 'v', x.castsource, '', 'f', x.castfunc, '' from pg_cast x where x.castfunc>=16384 and x.castsource>=16384"
    " and (x.castcontext<>'e' or x.casttarget<16384)"
    " union select 'b', 'v', x.casttarget, '', 'f', x.castfunc, '' from pg_cast x where x.castfunc>=16384 and x.casttarget>=16384"
    " and x.castcontext<>'e'"
    " union select 'b', 'a', 0, '', 'f', x.castfunc, '' from pg_cast x where x.castfunc>=16384 and x.castsource<16384"
    " and x.casttarget<16384 and x.castcontext='i'"
    " union select 'b', 'r', x.polrelid, c.relname, k.kind, d.refobjid, ''" QUESTION_USED("pg_policy")
    " join pg_policy x on x.oid=d.objid and x.polrelid<>d.refobjid join pg_class c on c.oid=x.polrelid"
    " union select 'b', 'f', d.objid, '', k.kind, d.refobjid, ''" QUESTION_USED("pg_proc")
    " where d.deptype='n' and (k.kind<>'t' or d.refobjid in (select type from odd))"
    " union select 'b', 'o', o.oid, o.oprname, 'f', o.oprcode, '' from pg_operator o where o.oprcode>=16384"
    " union select 'b', 't', x.casttarget, y.typname, 'f', x.castfunc, '' from pg_cast x join pg_type y on y.oid=x.casttarget"
    " where x.castfunc>=16384 and (x.castsource<16384 or x.casttarget>=16384)"
    " union select 'b', 'o', o.oid, o.oprname, 'v', d.refobjid, '' from pg_depend d join odd on odd.type=d.refobjid"
    " join pg_operator o on o.oid=d.objid where d.classid='pg_operator'::regclass and d.refclassid='pg_type'::regclass"
    " union select 'w', 'r', i.inhparent, c.relname, 'r', i.inhrelid, '' from pg_inherits i join pg_class c on c.oid=i.inhparent"
    " union select 'w', 'r', x.confrelid, c.relname, 'r', x.conrelid, '' from pg_constraint x join pg_class c on c.oid=x.confrelid"
    " where x.contype='f' and (x.confdeltype in ('c','n','d') or x.confupdtype in ('c','n','d')) and x.confrelid<>x.conrelid"
    " union select 'n', 'r', oid, relname, 'f', 0, '' from pg_class where oid>=16384 and relpersistence<>'t'"
    " and (relkind in ('S','f') or (relpersistence='u' and relkind in ('r','p')))"
    " union select 'b', 'r', i.inhparent, c.relname, 'r', i.inhrelid, '' from pg_inherits i join pg_class c on c.oid=i.inhparent"
    " join pg_class child on child.oid=i.inhrelid where child.relkind='f' or child.relpersistence='u' or child.relhassubclass"
    " union select 'b', 'd', 0, '', 'f', evtfoid, '' from pg_event_trigger where evtenabled<>'D' and evtfoid>=16384"
    " union select 'k', 'r', oid, relname, 'f', 0, '' from pg_class where oid>=16384 and relname ~ '[^ -~]'"
    " and relkind in ('r','p','v','m','f','S')"
    " union select 'k', 't', oid, typname, 'f', 0, '' from pg_type where oid>=16384 and typname ~ '[^ -~]'"
    " union select 'x', o.kind, o.oid, o.name, 'f', 0, p.proname from own o, regexp_matches(o.tree, ':funcid (\\d+)', 'g') m"
    " join pg_proc p on p.oid=m[1]::oid where p.oid<16384 and p.provolatile<>'i' and (o.kind<>'r' or p.provolatile='v')"
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
