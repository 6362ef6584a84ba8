import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.postgresql.PGConnection;

/**
 * pgjdbc as two tenants, with the connections it opens by default: it sends SET on each. Arguments: port, database, a token
 * of acme's, one of globex'.
 */
public class Contract {
    static String url;

    static class Tenant {
        final String name, token, other;
        final int rows;

        Tenant(String name, String token, int rows, String other) {
            this.name = name;
            this.token = token;
            this.rows = rows;
            this.other = other;
        }

        Connection open(String... options) throws SQLException {
            Properties properties = new Properties();
            properties.setProperty("user", name);
            properties.setProperty("password", token);
            for (int at = 0; at < options.length; at += 2) {
                properties.setProperty(options[at], options[at + 1]);
            }
            return DriverManager.getConnection(url, properties);
        }
    }

    interface Work {
        void run() throws Exception;
    }

    static SQLException refused(String state, Work work) throws Exception {
        try {
            work.run();
        } catch (SQLException error) {
            if (!state.equals(error.getSQLState())) {
                throw error;
            }
            return error;
        }
        throw new AssertionError("it was not refused: " + state);
    }

    static void same(Object wanted, Object found) {
        if (!wanted.equals(found)) {
            throw new AssertionError("wanted " + wanted + ", found " + found);
        }
    }

    static String one(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    static int run(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            return statement.executeUpdate(sql);
        }
    }

    static String row(String tenant, int id) {
        return "INSERT INTO accounts VALUES ('" + tenant + "', " + id + ", 'theirs', 1)";
    }

    /** More connections than the guard has to Postgres, each with a statement that is prepared from the fifth time on. */
    static void pools(List<Tenant> tenants) throws Exception {
        List<Connection> open = new ArrayList<>();
        List<PreparedStatement> counts = new ArrayList<>();
        for (int at = 0; at < 8; at++) {
            Connection connection = tenants.get(at % 2).open("prepareThreshold", at < 6 ? "5" : "-1");
            open.add(connection);
            counts.add(connection.prepareStatement("SELECT count(*) FROM accounts WHERE id > ?"));
        }
        for (int round = 0; round < 12; round++) {
            for (int at = 0; at < 8; at++) {
                Connection connection = open.get(at);
                connection.setAutoCommit(round % 2 == 0);
                counts.get(at).setInt(1, 0);
                try (ResultSet rows = counts.get(at).executeQuery()) {
                    rows.next();
                    same(tenants.get(at % 2).rows, rows.getInt(1));
                }
                // What the driver has set when it connected.
                same("3", one(connection, "SHOW extra_float_digits"));
                same("PostgreSQL JDBC Driver", one(connection, "SHOW application_name"));
                if (round % 2 == 1) {
                    connection.commit();
                }
                same(true, connection.isValid(5));
            }
        }
        for (Connection connection : open) {
            connection.close();
        }
    }

    static void transactions(Tenant tenant) throws Exception {
        try (Connection connection = tenant.open()) {
            connection.setAutoCommit(false);
            run(connection, row(tenant.name, 90));
            java.sql.Savepoint savepoint = connection.setSavepoint("named");
            refused("42501", () -> run(connection, row(tenant.other, 90)));
            refused("25P02", () -> one(connection, "SELECT 1"));
            connection.rollback(savepoint);
            same(0, run(connection, "UPDATE accounts SET balance = 0 WHERE tenant_id = '" + tenant.other + "'"));
            connection.commit();
            run(connection, "DELETE FROM accounts WHERE id = 90");
            refused("22012", () -> one(connection, "SELECT 1 / 0"));
            connection.rollback();
            same(1, run(connection, "DELETE FROM accounts WHERE id = 90"));
            connection.commit();
            connection.setReadOnly(true);
            refused("25006", () -> run(connection, row(tenant.name, 91)));
            connection.rollback();
            connection.setReadOnly(false);
            connection.setAutoCommit(true);
            refused("42501", () -> run(connection, row(tenant.other, 92)));
            same(String.valueOf(tenant.rows), one(connection, "SELECT count(*) FROM accounts"));
        }
        try (Connection connection = tenant.open("autosave", "always")) {
            connection.setAutoCommit(false);
            run(connection, row(tenant.name, 93));
            refused("42501", () -> run(connection, row(tenant.other, 93)));
            same(1, run(connection, "DELETE FROM accounts WHERE id = 93"));
            connection.commit();
        }
    }

    static void cursors(Tenant tenant) throws Exception {
        try (Connection connection = tenant.open(); Statement statement = connection.createStatement()) {
            connection.setAutoCommit(false);
            statement.setFetchSize(1000);
            long sum = 0;
            try (ResultSet rows = statement.executeQuery("SELECT n, repeat('x', 20) FROM generate_series(1, 200000) n")) {
                while (rows.next()) {
                    sum += rows.getLong(1);
                }
            }
            same(20000100000L, sum);
            connection.commit();
        }
    }

    static void batches(Tenant tenant) throws Exception {
        for (String rewrite : new String[] {"false", "true"}) {
            try (Connection connection = tenant.open("reWriteBatchedInserts", rewrite)) {
                String sql = "INSERT INTO accounts (tenant_id, id, owner, balance) VALUES (?, ?, ?, ?)";
                try (PreparedStatement insert = connection.prepareStatement(sql)) {
                    for (int id = 1000; id < 1300; id++) {
                        insert.setString(1, tenant.name);
                        insert.setInt(2, id);
                        insert.setString(3, "batch");
                        insert.setLong(4, id);
                        insert.addBatch();
                    }
                    same(300, insert.executeBatch().length);
                    insert.setString(1, tenant.other);
                    insert.setInt(2, 1300);
                    insert.setString(3, "batch");
                    insert.setLong(4, 1);
                    insert.addBatch();
                    refused("42501", insert::executeBatch);
                }
                same(300, run(connection, "DELETE FROM accounts WHERE id >= 1000"));
            }
        }
    }

    static void copies(Tenant tenant) throws Exception {
        try (Connection connection = tenant.open()) {
            var copy = connection.unwrap(PGConnection.class).getCopyAPI();
            String in = tenant.name + "\t1\tcopied\t5\n" + tenant.name + "\t2\tcopied\t5\n";
            same(2L, copy.copyIn("COPY staging FROM STDIN", new StringReader(in)));
            StringWriter out = new StringWriter();
            same((long) tenant.rows, copy.copyOut("COPY (SELECT * FROM accounts) TO STDOUT", out));
            same(tenant.rows, out.toString().split(tenant.name + "\t", -1).length - 1);
            refused("0A000", () -> copy.copyIn("COPY accounts FROM STDIN", new StringReader(in)));
            same("1", one(connection, "SELECT 1"));
        }
    }

    static void cancels(Tenant tenant) throws Exception {
        try (Connection connection = tenant.open(); Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            refused("57014", () -> statement.executeQuery("SELECT pg_sleep(60)"));
            statement.setQueryTimeout(0);
            same(String.valueOf(tenant.rows), one(connection, "SELECT count(*) FROM accounts"));
        }
    }

    static void metadata(Tenant tenant) throws Exception {
        try (Connection connection = tenant.open()) {
            var about = connection.getMetaData();
            List<String> tables = new ArrayList<>();
            try (ResultSet rows = about.getTables(null, "public", "%", new String[] {"TABLE"})) {
                while (rows.next()) {
                    tables.add(rows.getString("TABLE_NAME"));
                }
            }
            same(List.of("accounts", "payments", "staging"), tables);
            try (ResultSet rows = about.getPrimaryKeys(null, "public", "accounts")) {
                rows.next();
                same("tenant_id", rows.getString("COLUMN_NAME"));
            }
            try (ResultSet rows = about.getColumns(null, "public", "accounts", "balance")) {
                rows.next();
                same("int8", rows.getString("TYPE_NAME"));
            }
        }
    }

    static void turnedAway(Tenant tenant, Tenant other) throws Exception {
        for (String token : new String[] {other.token, tenant.token + "x", "secret"}) {
            SQLException error = refused("28000", () -> tenant.open("password", token).close());
            same(true, error.getMessage().contains("Hint:") && error.getMessage().contains("layer=guard reason="));
        }
    }

    static String use(Connection connection, Tenant tenant) throws SQLException {
        try (PreparedStatement use = connection.prepareStatement("SELECT ringfence.token_use(?, ?)")) {
            use.setString(1, tenant.name);
            use.setString(2, tenant.token);
            try (ResultSet rows = use.executeQuery()) {
                rows.next();
                return rows.getString(1);
            }
        }
    }

    /** A session for whoever's token is given; not one in which the driver has set something. */
    static void tokens(List<Tenant> tenants) throws Exception {
        try (Connection connection = tenants.get(0).open("assumeMinServerVersion", "15")) {
            for (int round = 0; round < 14; round++) {
                Tenant tenant = tenants.get(round % 2);
                connection.setAutoCommit(true);
                same(tenant.name, use(connection, tenant));
                connection.setAutoCommit(false);
                same(String.valueOf(tenant.rows), one(connection, "SELECT count(*) FROM accounts"));
                connection.commit();
            }
        }
        try (Connection connection = tenants.get(0).open()) {
            refused("25001", () -> use(connection, tenants.get(1)));
            refused("28000", () -> one(connection, "SELECT 1"));
            same("globex", use(connection, tenants.get(1)));
        }
    }

    /** What a session keeps for itself: the level of its transactions. */
    static void keeps(Tenant tenant) throws Exception {
        try (Connection connection = tenant.open()) {
            connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            for (int round = 0; round < 3; round++) {
                same("serializable", one(connection, "SHOW transaction_isolation"));
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        url = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/" + arguments[1];
        Tenant acme = new Tenant("acme", arguments[2], 3, "globex");
        Tenant globex = new Tenant("globex", arguments[3], 5, "acme");
        pools(List.of(acme, globex));
        tokens(List.of(acme, globex));
        for (Tenant tenant : List.of(acme, globex)) {
            transactions(tenant);
            cursors(tenant);
            batches(tenant);
            copies(tenant);
            metadata(tenant);
            keeps(tenant);
            turnedAway(tenant, tenant == acme ? globex : acme);
        }
        cancels(acme);
        // One that leaves in the middle of a transaction, and without a word.
        Connection left = acme.open();
        left.setAutoCommit(false);
        run(left, row("acme", 95));
        Runtime.getRuntime().halt(0);
    }
}
