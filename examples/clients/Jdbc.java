// java -cp postgresql.jar Jdbc.java 'jdbc:postgresql://127.0.0.1:5432/postgres?user=postgres'
// Several hosts: jdbc:postgresql://a:5432,b:5432/postgres?targetServerType=primary goes to the one that takes writes.
import java.sql.*;

public class Jdbc {
  public static void main(String[] args) throws Exception {
    try (Connection c = DriverManager.getConnection(args[0]); Statement s = c.createStatement()) {
      DatabaseMetaData meta = c.getMetaData();
      System.out.println("driver " + meta.getDriverVersion() + ", server " + meta.getDatabaseProductVersion());
      s.execute("drop table if exists jdbc_item; create table jdbc_item (id bigint generated always as identity primary key,"
          + " name text not null, price numeric(10, 2), tags text[], made timestamptz default now())");

      c.setAutoCommit(false);
      try (PreparedStatement p = c.prepareStatement(
          "insert into jdbc_item (name, price, tags) values (?, ?, ?)", Statement.RETURN_GENERATED_KEYS)) {
        for (int i = 0; i < 1000; i++) {
          p.setString(1, "item " + i);
          p.setBigDecimal(2, new java.math.BigDecimal(i).movePointLeft(2));
          p.setArray(3, c.createArrayOf("text", new String[] {"a", "b" + i}));
          p.addBatch();
        }
        System.out.println("batch of " + p.executeBatch().length);
      }
      Savepoint savepoint = c.setSavepoint();
      try {
        s.execute("select 1/0");
      } catch (SQLException e) {
        System.out.println("error " + e.getSQLState());
        c.rollback(savepoint);
      }
      c.commit();

      // A cursor: rows come a hundred at a time.
      try (PreparedStatement p = c.prepareStatement("select id, name, price, tags from jdbc_item where id > ? order by id")) {
        p.setFetchSize(100);
        int rows = 0;
        for (int round = 0; round < 10; round++) { // often enough to become a prepared statement of the server
          p.setLong(1, 500);
          try (ResultSet r = p.executeQuery()) {
            while (r.next()) rows++;
          }
        }
        System.out.println("rows " + rows);
      }
      c.commit();
      c.setAutoCommit(true);

      try (ResultSet r = meta.getTables(null, "public", "jdbc_%", new String[] {"TABLE"})) {
        while (r.next()) System.out.println("table " + r.getString("TABLE_NAME"));
      }
      try (ResultSet r = meta.getColumns(null, "public", "jdbc_item", null)) {
        while (r.next()) System.out.println("column " + r.getString("COLUMN_NAME") + " " + r.getString("TYPE_NAME"));
      }
      try (ResultSet r = meta.getPrimaryKeys(null, "public", "jdbc_item")) {
        while (r.next()) System.out.println("key " + r.getString("COLUMN_NAME"));
      }
      try (ResultSet r = meta.getIndexInfo(null, "public", "jdbc_item", false, false)) {
        while (r.next()) System.out.println("index " + r.getString("INDEX_NAME"));
      }
      s.execute("drop table jdbc_item");
    }
  }
}
