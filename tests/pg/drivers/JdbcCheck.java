// JDBC: server-prepared from the fifth execution on, batches, fetch size (portals with a row limit), savepoints, COPY, NOTIFY, cancel.
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;

public class JdbcCheck {
	static boolean failed;

	static synchronized void same(Object got, Object want, String name) {
		boolean good = Objects.equals(String.valueOf(got), String.valueOf(want));
		failed |= !good;
		System.out.println(good ? "ok " + name : "not ok " + name + ": got " + got + ", wanted " + want);
	}

	static Connection connect(String more) throws SQLException {
		Map<String, String> env = System.getenv();
		return DriverManager.getConnection("jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE") +
				"?sslmode=disable&gssEncMode=disable&user=" + env.get("PGUSER") + more);
	}

	static String one(Statement st, String sql) throws SQLException {
		try (ResultSet r = st.executeQuery(sql)) {
			return r.next() ? r.getString(1) : null;
		}
	}

	static void types(Connection c) throws SQLException {
		try (PreparedStatement st = c.prepareStatement("select ?::int, ?::text, ?::numeric, ?::bool, ?::bytea, ?::date, ?::int8")) {
			for (int i = 0; i < 12; i++) { /* text at first, binary once it is prepared */
				st.setInt(1, i);
				st.setString(2, "žlu'\\");
				st.setBigDecimal(3, new BigDecimal("1.50"));
				st.setBoolean(4, true);
				st.setBytes(5, new byte[] { 0, -1 });
				st.setDate(6, java.sql.Date.valueOf("2024-02-29"));
				st.setLong(7, 1L << 40);
				try (ResultSet r = st.executeQuery()) {
					r.next();
					String got = r.getInt(1) + "|" + r.getString(2) + "|" + r.getBigDecimal(3) + "|" + r.getBoolean(4) + "|" +
							Arrays.toString(r.getBytes(5)) + "|" + r.getDate(6) + "|" + r.getLong(7);
					String want = i + "|žlu'\\|1.50|true|[0, -1]|2024-02-29|1099511627776";
					if (!got.equals(want) || i == 11)
						same(got, want, "types come back from twelve executions");
				}
			}
		}
	}

	static void transactions(Connection c) throws SQLException {
		try (Statement st = c.createStatement()) {
			st.execute("create table tx_jdbc (n int)");
			c.setAutoCommit(false);
			st.execute("insert into tx_jdbc values (1)");
			c.rollback();
			st.execute("insert into tx_jdbc values (2)");
			Savepoint a = c.setSavepoint();
			try {
				st.execute("insert into tx_jdbc values (1/0)");
				same("nothing", "22012", "an error is raised");
			} catch (SQLException e) {
				same(e.getSQLState(), "22012", "an error is raised");
			}
			try {
				st.execute("select 1");
				same("nothing", "25P02", "the transaction is aborted");
			} catch (SQLException e) {
				same(e.getSQLState(), "25P02", "the transaction is aborted");
			}
			c.rollback(a);
			st.execute("insert into tx_jdbc values (3)");
			c.commit();
			same(one(st, "select string_agg(n::text, ',' order by n) from tx_jdbc"), "2,3", "savepoints");
			c.commit();
			c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
			same(one(st, "show transaction_isolation"), "serializable", "isolation");
			c.commit();
			c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
			c.setReadOnly(true);
			try {
				st.execute("insert into tx_jdbc values (4)");
				same("nothing", "25006", "read only");
			} catch (SQLException e) {
				same(e.getSQLState(), "25006", "read only");
			}
			c.rollback();
			c.setReadOnly(false);
			c.setAutoCommit(true);
		}
	}

	static void cursors(Connection c) throws SQLException {
		c.setAutoCommit(false);
		try (PreparedStatement st = c.prepareStatement("select g from generate_series(1, ?) g")) {
			st.setFetchSize(10);
			for (int round = 0; round < 8; round++) {
				st.setInt(1, 105);
				long sum = 0;
				try (ResultSet r = st.executeQuery()) {
					while (r.next())
						sum += r.getInt(1);
				}
				if (sum != 5565 || round == 7)
					same(sum, 5565, "a fetch size of ten");
				c.commit();
			}
		}
		c.setAutoCommit(true);
	}

	static void batches(Connection c) throws SQLException {
		try (Statement st = c.createStatement(); PreparedStatement in = c.prepareStatement("insert into batch values (?, ?)")) {
			st.execute("create table batch (n int primary key, t text)");
			for (int round = 0; round < 6; round++) {
				for (int i = 0; i < 300; i++) {
					in.setInt(1, round * 300 + i);
					in.setString(2, "t" + i);
					in.addBatch();
				}
				in.executeBatch();
			}
			same(one(st, "select count(*) from batch"), "1800", "batches");
			in.setInt(1, 5);
			in.setString(2, "twice");
			in.addBatch();
			try {
				in.executeBatch();
				same("nothing", "23505", "a batch that fails");
			} catch (BatchUpdateException e) {
				same(e.getSQLState(), "23505", "a batch that fails");
			}
			same(one(st, "select count(*) from batch"), "1800", "after it everything goes on");
			st.execute("create table plan (a int)");
			try (PreparedStatement p = c.prepareStatement("select * from plan")) {
				for (int i = 0; i < 8; i++)
					p.executeQuery().close();
				st.execute("alter table plan add b text");
				same(p.executeQuery().getMetaData().getColumnCount(), 2, "a changed table is read anew");
			}
		}
	}

	static void copy(Connection c) throws Exception {
		try (Statement st = c.createStatement()) {
			st.execute("create table copied_jdbc (n int, t text)");
			StringBuilder rows = new StringBuilder();
			for (int i = 0; i < 5000; i++)
				rows.append(i).append("\trow ").append(i).append('\n');
			c.unwrap(PGConnection.class).getCopyAPI().copyIn("copy copied_jdbc from stdin", new StringReader(rows.toString()));
			StringWriter out = new StringWriter();
			c.unwrap(PGConnection.class).getCopyAPI().copyOut("copy (select * from copied_jdbc order by n) to stdout", out);
			same(out.toString().equals(rows.toString()), true, "COPY both ways");
		}
	}

	static void notify(Connection c) throws SQLException {
		try (Statement st = c.createStatement(); Connection other = connect("")) {
			st.execute("listen jdbc_channel");
			other.createStatement().execute("notify jdbc_channel, 'hello'");
			PGNotification[] heard = null;
			for (int i = 0; i < 100 && (heard == null || heard.length == 0); i++)
				heard = c.unwrap(PGConnection.class).getNotifications(200);
			same(heard == null || heard.length == 0 ? "nothing" : heard[0].getParameter(), "hello", "a notification arrives");
			st.execute("unlisten *");
		}
	}

	static void cancel(Connection c) throws SQLException {
		try (Statement st = c.createStatement()) {
			st.setQueryTimeout(1);
			st.execute("select pg_sleep(30)");
			same("nothing", "57014", "a query timeout cancels");
		} catch (SQLException e) {
			same(e.getSQLState(), "57014", "a query timeout cancels");
		}
		try (Statement st = c.createStatement()) {
			same(one(st, "select 5"), "5", "after it everything goes on");
		}
	}

	static boolean crowdMember(int i) throws SQLException {
		try (Connection c = connect("&ApplicationName=crowd" + i + (i % 2 == 0 ? "&preferQueryMode=extendedForPrepared" : ""));
				PreparedStatement st = c.prepareStatement("select current_setting('application_name'), ?::text")) {
			for (int n = 0; n < 40; n++) {
				c.setAutoCommit(n % 3 != 0);
				st.setString(1, i + ":" + n);
				try (ResultSet r = st.executeQuery()) {
					r.next();
					if (!r.getString(1).equals("crowd" + i) || !r.getString(2).equals(i + ":" + n))
						return false;
				}
				if (n % 3 == 0)
					c.commit();
			}
		}
		return true;
	}

	static void crowd() throws Exception {
		ExecutorService pool = Executors.newFixedThreadPool(8);
		List<Future<Boolean>> all = new ArrayList<>();
		for (int i = 0; i < 8; i++) {
			int me = i;
			all.add(pool.submit(() -> crowdMember(me)));
		}
		int good = 0;
		for (Future<Boolean> f : all)
			good += f.get() ? 1 : 0;
		pool.shutdown();
		same(good, 8, "eight connections see their own rows and settings");
	}

	public static void main(String[] args) throws Exception {
		try (Connection c = connect("")) {
			types(c);
			transactions(c);
			cursors(c);
			batches(c);
			copy(c);
			notify(c);
			cancel(c);
		}
		crowd();
		System.exit(failed ? 1 : 0);
	}
}
