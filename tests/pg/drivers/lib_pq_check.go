// lib/pq: unnamed and named statements, COPY through a statement, listener, database/sql's pool of eight connections.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/lib/pq"
)

var failed = false

func same(got, want interface{}, name string) {
	if fmt.Sprint(got) == fmt.Sprint(want) {
		fmt.Println("ok " + name)
		return
	}
	failed = true
	fmt.Printf("not ok %s: got %v, wanted %v\n", name, got, want)
}

func must(err error) {
	if err != nil {
		fmt.Printf("not ok %v\n", err)
		os.Exit(1)
	}
}

func state(err error) string {
	if e, is := err.(*pq.Error); is {
		return string(e.Code)
	}
	return fmt.Sprint(err)
}

func types(db *sql.DB) {
	var n int64
	var s string
	var b bool
	var raw []byte
	var at time.Time
	var list []int64
	must(db.QueryRow("select $1::bigint, $2::text, $3::bool, $4::bytea, $5::timestamptz, $6::int[]", 1<<40, "žlu'", true, []byte{0, 255},
		time.Unix(1000, 0), pq.Array([]int64{1, 2})).Scan(&n, &s, &b, &raw, &at, pq.Array(&list)))
	same([]interface{}{n, s, b, raw, at.Unix(), list}, []interface{}{int64(1) << 40, "žlu'", true, []byte{0, 255}, 1000, []int64{1, 2}}, "types come back")
}

func prepared(db *sql.DB) {
	st, err := db.Prepare("select $1::int * 2")
	must(err)
	sum := 0
	for i := 1; i <= 50; i++ {
		var n int
		must(st.QueryRow(i).Scan(&n))
		sum += n
	}
	same(sum, 2550, "a statement executed fifty times")
	must(st.Close())
}

func transactions(db *sql.DB) {
	_, err := db.Exec("create table tx_pq (n int)")
	must(err)
	for i := 0; i < 10; i++ {
		tx, err := db.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelSerializable})
		must(err)
		_, err = tx.Exec("insert into tx_pq values ($1)", i)
		must(err)
		if i%2 == 0 {
			must(tx.Commit())
		} else {
			must(tx.Rollback())
		}
	}
	var n int
	must(db.QueryRow("select sum(n) from tx_pq").Scan(&n))
	same(n, 20, "what was committed is there, what was rolled back is not")
	tx, err := db.Begin()
	must(err)
	_, err = tx.Exec("select 1/$1::int", 0)
	same(state(err), "22012", "an error is raised")
	_, err = tx.Exec("select 1")
	same(state(err), "25P02", "the transaction is aborted")
	must(tx.Rollback())
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err = db.ExecContext(ctx, "select pg_sleep(30)")
	same(state(err), "57014", "a context that ends cancels")
}

func copying(db *sql.DB) {
	_, err := db.Exec("create table copied_pq (n int, t text)")
	must(err)
	tx, err := db.Begin()
	must(err)
	st, err := tx.Prepare(pq.CopyIn("copied_pq", "n", "t"))
	must(err)
	for i := 0; i < 5000; i++ {
		_, err = st.Exec(i, fmt.Sprint("row ", i))
		must(err)
	}
	_, err = st.Exec()
	must(err)
	must(st.Close())
	must(tx.Commit())
	var n int
	must(db.QueryRow("select sum(n) from copied_pq where t = 'row ' || n").Scan(&n))
	same(n, 12497500, "COPY in")
}

func notify(db *sql.DB) {
	l := pq.NewListener("", time.Second, time.Minute, nil)
	must(l.Listen("pq_channel"))
	_, err := db.Exec("select pg_notify('pq_channel', 'hello')")
	must(err)
	select {
	case n := <-l.Notify:
		same(n.Extra, "hello", "a notification arrives")
	case <-time.After(20 * time.Second):
		same("nothing", "hello", "a notification arrives")
	}
	must(l.Close())
}

func crowd(db *sql.DB) {
	var wg sync.WaitGroup
	var bad sync.Map
	for i := 0; i < 8; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			c, err := db.Conn(context.Background())
			must(err)
			defer c.Close()
			_, err = c.ExecContext(context.Background(), fmt.Sprintf("set application_name = 'crowd%d'", i))
			must(err)
			for n := 0; n < 40; n++ {
				var name, tag string
				want := fmt.Sprintf("%d:%d", i, n)
				must(c.QueryRowContext(context.Background(), "select current_setting('application_name'), $1::text", want).Scan(&name, &tag))
				if name != fmt.Sprintf("crowd%d", i) || tag != want {
					bad.Store(i, name+" "+tag)
				}
			}
		}(i)
	}
	wg.Wait()
	got := 0
	bad.Range(func(k, v interface{}) bool { got++; return true })
	same(got, 0, "eight connections see their own rows and settings")
}

func main() {
	db, err := sql.Open("postgres", "")
	must(err)
	db.SetMaxIdleConns(8)
	types(db)
	prepared(db)
	transactions(db)
	copying(db)
	notify(db)
	crowd(db)
	must(db.Close())
	if failed {
		os.Exit(1)
	}
}
