package dataflow;

import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.zip.GZIPInputStream;
import org.apache.spark.api.python.PythonGatewayServer;

/**
 * PySpark's gateway, which meanwhile loads the classes of a first session on another processor.
 *
 * <p>It initializes none of them, so nothing but the time of a run changes.
 */
public final class EagerPythonGatewayServer {
  private EagerPythonGatewayServer() {}

  /** Takes the file with the names of the classes, in the order in which a session needs them. */
  public static void main(String[] arguments) {
    if (Runtime.getRuntime().availableProcessors() > 1) {
      Thread loading = new Thread(() -> load(arguments[0]), "dataflow-classes");
      loading.setDaemon(true);
      loading.start();
    }
    PythonGatewayServer.main(new String[0]);
  }

  private static void load(String file) {
    ClassLoader loader = EagerPythonGatewayServer.class.getClassLoader();
    try (BufferedReader names =
        new BufferedReader(
            new InputStreamReader(
                new GZIPInputStream(new FileInputStream(file)), StandardCharsets.US_ASCII))) {
      for (String name = names.readLine(); name != null; name = names.readLine()) {
        try {
          Class.forName(name, false, loader);
        } catch (ClassNotFoundException | LinkageError missing) {
          // Another version of Spark or Java does not have it.
        }
      }
    } catch (IOException unread) {
      // A session loads them itself.
    }
  }
}
