// node-postgres: simple and named statements, transactions, errors, NOTIFY, a pool of eight.
'use strict';
const { Client, Pool } = require(process.env.NODE_PG);

let failed = false;
function same(got, want, name) {
	const good = JSON.stringify(got) === JSON.stringify(want);
	failed = failed || !good;
	console.log(good ? `ok ${name}` : `not ok ${name}: got ${JSON.stringify(got)}, wanted ${JSON.stringify(want)}`);
}
const state = (promise) => promise.then(() => 'nothing', (e) => e.code);

async function main() {
	const c = new Client();
	await c.connect();
	const row = (await c.query('select $1::int as a, $2::text as b, $3::bool as c, $4::json as d, $5::bytea as e, $6::int[] as f', [
		1, "žlu'", true, { x: [1] }, Buffer.from([0, 255]), [1, 2]])).rows[0];
	same([row.a, row.b, row.c, row.d, row.e.toString('hex'), row.f], [1, "žlu'", true, { x: [1] }, '00ff', [1, 2]], 'types come back');

	let sum = 0;
	for (let i = 0; i < 20; i++) sum += (await c.query({ name: 'twice', text: 'select $1::int * 2 as n', values: [i] })).rows[0].n;
	same(sum, 380, 'a named statement executed twenty times');
	const all = await Promise.all([...Array(50).keys()].map((i) => c.query('select $1::int as n', [i])));
	same(all.map((r) => r.rows[0].n), [...Array(50).keys()], 'fifty queries in order');

	await c.query('create table tx_node (n int)');
	await c.query('begin');
	await c.query('insert into tx_node values ($1)', [1]);
	await c.query('rollback');
	await c.query('begin isolation level repeatable read');
	await c.query('insert into tx_node values ($1)', [2]);
	await c.query('commit');
	same((await c.query('select n from tx_node')).rows, [{ n: 2 }], 'what was committed is there, what was rolled back is not');

	await c.query('begin');
	same(await state(c.query('select 1/$1::int', [0])), '22012', 'an error is raised');
	same(await state(c.query('select 1')), '25P02', 'the transaction is aborted');
	await c.query('rollback');
	for (let i = 0; i < 5; i++) await state(c.query({ name: 'bad', text: 'select 1/$1::int', values: [0] }));
	same((await c.query({ name: 'bad', text: 'select 1/$1::int', values: [1] })).rowCount, 1, 'after errors a named statement goes on');

	const heard = new Promise((done) => c.once('notification', (n) => done(n.payload)));
	await c.query('listen node_channel');
	const other = new Client();
	await other.connect();
	await other.query("notify node_channel, 'hello'");
	await other.end();
	same(await heard, 'hello', 'a notification arrives');
	await c.end();

	const pool = new Pool({ max: 8 });
	const bad = await Promise.all([...Array(8).keys()].map(async (i) => {
		const p = await pool.connect();
		let wrong = 0;
		await p.query(`set application_name = 'crowd${i}'`);
		for (let n = 0; n < 40; n++) {
			const r = (await p.query({ name: 'echo', text: "select current_setting('application_name') as a, $1::text as b", values: [`${i}:${n}`] })).rows[0];
			if (r.a !== `crowd${i}` || r.b !== `${i}:${n}`) wrong++;
		}
		p.release();
		return wrong;
	}));
	same(bad, Array(8).fill(0), 'eight connections see their own rows and settings');
	await pool.end();
	process.exit(failed ? 1 : 0);
}
main().catch((e) => { console.log(`not ok ${e.stack.replace(/\n/g, ' ')}`); process.exit(1); });
