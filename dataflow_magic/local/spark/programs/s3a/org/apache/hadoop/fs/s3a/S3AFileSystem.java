package org.apache.hadoop.fs.s3a;

import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.CreateFlag;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.util.Progressable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Object storage that is a folder: {@code s3a://bucket/key} is the file {@code bucket/key} of the folder that
 * {@code fs.dataflow.objects} names.
 *
 * <p>It has the name of Hadoop's S3 client, which PySpark does not bring. So a script that names that class itself
 * still reads the folder, and what it sets for the client (endpoint, keys, committers) has no effect.
 */
public class S3AFileSystem extends FileSystem {
  public static final String OBJECTS = "fs.dataflow.objects";
  /** Of one object, as the S3 client reports it: 32 MB. */
  private static final long BLOCK = 32L << 20;
  private static final FileAttribute<?> OWNERS_FILE =
      PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"));
  private static final FileAttribute<?> OWNERS_FOLDER =
      PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"));
  private static final Path ROOT = new Path("/");
  private static final Logger LOG = LoggerFactory.getLogger("dataflow_magic.objects");
  private static final Set<String> NOTED = ConcurrentHashMap.newKeySet();
  /** What scripts set to reach object storage and Hadoop gives no default: the ends of the settings' names. */
  private static final List<String> IGNORED =
      List.of(
          "access.key", "secret.key", "session.token", "endpoint", "endpoint.region", "awsAccessKeyId",
          "awsSecretAccessKey");

  private final RawLocalFileSystem files = new RawLocalFileSystem();
  private URI uri;
  private File bucket;
  private Path working;

  @Override
  public void initialize(URI name, Configuration conf) throws IOException {
    super.initialize(name, conf);
    setConf(conf);
    String objects = conf.get(OBJECTS);
    if (objects == null || name.getAuthority() == null) {
      throw new IOException(name + " names no bucket of the local service");
    }
    bucket = new File(objects, name.getAuthority());
    // As the service itself, follow no link that leads out of the objects.
    if (!bucket.isDirectory() || !bucket.toPath().toRealPath().startsWith(new File(objects).toPath().toRealPath())) {
      throw new FileNotFoundException(
          "no bucket '" + name.getAuthority() + "' for " + name.getScheme() + "://" + name.getAuthority()
              + "/ in the objects of the local service: make it, or correct the path");
    }
    uri = URI.create(name.getScheme() + "://" + name.getRawAuthority());
    working = new Path(uri.getScheme(), uri.getAuthority(), "/");
    files.initialize(URI.create("file:///"), conf);
    note(conf);
  }

  /** Log once per name, and never a value, which may be a key. */
  private static void note(Configuration conf) {
    Set<String> names = new TreeSet<>();
    for (String scheme : List.of("s3a", "s3", "s3n")) {
      for (String name : IGNORED) {
        String setting = "fs." + scheme + "." + name;
        if (!conf.getTrimmed(setting, "").isEmpty() && NOTED.add(setting)) {
          names.add(setting);
        }
      }
    }
    if (!names.isEmpty()) {
      LOG.warn("s3a:// is a folder of the local service; without effect here: {}", String.join(", ", names));
    }
  }

  @Override
  public String getScheme() {
    return uri.getScheme();
  }

  @Override
  public URI getUri() {
    return uri;
  }

  @Override
  public Path getWorkingDirectory() {
    return working;
  }

  @Override
  public void setWorkingDirectory(Path folder) {
    working = folder.isAbsolute() ? makeQualified(folder) : makeQualified(new Path(working, folder));
  }

  @Override
  public long getDefaultBlockSize(Path path) {
    return BLOCK;
  }

  private File file(Path path) throws IOException {
    checkPath(path);
    String key = makeQualified(path).toUri().getPath();
    for (String part : key.split("/")) {
      if (part.equals("..")) {
        throw new IOException(path + " leads out of its bucket");
      }
    }
    return new File(bucket, key);
  }

  private static Path local(File file) {
    return new Path("file", null, file.getPath());
  }

  private static void makeFolders(File folder) throws IOException {
    if (!folder.isDirectory()) {
      Files.createDirectories(folder.toPath(), OWNERS_FOLDER);
    }
  }

  /** Remove the checksum that Hadoop keeps for files written without a scheme: the file no longer matches it. */
  private static void forget(File file) throws IOException {
    Files.deleteIfExists(new File(file.getParentFile(), "." + file.getName() + ".crc").toPath());
  }

  @Override
  public FSDataInputStream open(Path path, int buffer) throws IOException {
    return files.open(local(existing(path)), buffer);
  }

  @Override
  public FSDataOutputStream create(
      Path path, FsPermission mode, boolean overwrite, int buffer, short copies, long block, Progressable progress)
      throws IOException {
    File file = file(path);
    if (file.isDirectory()) {
      throw new FileAlreadyExistsException(path + " is a folder");
    }
    if (!overwrite && file.exists()) {
      throw new FileAlreadyExistsException(path + " exists");
    }
    forget(file);
    makeFolders(file.getParentFile());
    if (!file.exists()) { // private from its first byte on, and without the process that Hadoop starts to set a mode
      Files.createFile(file.toPath(), OWNERS_FILE);
    }
    return files.create(local(file), true, buffer, copies, block, progress);
  }

  @Override
  public FSDataOutputStream createNonRecursive(
      Path path,
      FsPermission mode,
      EnumSet<CreateFlag> flags,
      int buffer,
      short copies,
      long block,
      Progressable progress)
      throws IOException {
    return create(
        path, mode, flags.contains(CreateFlag.OVERWRITE), buffer, copies, block, progress);
  }

  @Override
  public FSDataOutputStream append(Path path, int buffer, Progressable progress) throws IOException {
    File file = existing(path);
    forget(file);
    return files.append(local(file), buffer, progress);
  }

  @Override
  public boolean mkdirs(Path path, FsPermission mode) throws IOException {
    makeFolders(file(path));
    return true;
  }

  @Override
  public boolean rename(Path source, Path target) throws IOException {
    File from = file(source);
    File to = file(target);
    if (from.equals(to)) {
      return from.isFile();
    }
    if (!from.exists() || from.equals(file(ROOT))) {
      return false;
    }
    if (to.isDirectory()) {
      to = new File(to, from.getName());
    }
    if (to.isDirectory() || (from.isDirectory() && to.toPath().startsWith(from.toPath()))) {
      return false;
    }
    makeFolders(to.getParentFile());
    forget(from);
    forget(to);
    Files.move(from.toPath(), to.toPath(), StandardCopyOption.REPLACE_EXISTING);
    return true;
  }

  @Override
  public boolean delete(Path path, boolean recursive) throws IOException {
    File file = file(path);
    if (!file.equals(file(ROOT))) {
      forget(file);
      return files.delete(local(file), recursive);
    }
    FileStatus[] content = listStatus(path);
    if (content.length > 0 && !recursive) {
      throw new IOException(path + " is not empty");
    }
    for (FileStatus each : content) { // the bucket itself stays
      files.delete(local(file(each.getPath())), true);
    }
    return true;
  }

  @Override
  public FileStatus getFileStatus(Path path) throws IOException {
    return status(existing(path), makeQualified(path));
  }

  @Override
  public FileStatus[] listStatus(Path path) throws IOException {
    File folder = existing(path);
    Path whole = makeQualified(path);
    if (!folder.isDirectory()) {
      return new FileStatus[] {status(folder, whole)};
    }
    String[] names = folder.list();
    if (names == null) {
      throw new IOException(path + " cannot be listed");
    }
    Arrays.sort(names); // as object storage lists them
    String above = whole.toUri().getPath();
    List<FileStatus> found = new ArrayList<>(names.length);
    for (String name : names) {
      File file = new File(folder, name);
      boolean isChecksum = name.startsWith(".") && name.endsWith(".crc");
      if (!isChecksum && file.exists()) { // it may be gone, or a link that leads nowhere
        String key = above.endsWith("/") ? above + name : above + "/" + name;
        found.add(status(file, new Path(uri.getScheme(), uri.getAuthority(), key)));
      }
    }
    return found.toArray(new FileStatus[0]);
  }

  private File existing(Path path) throws IOException {
    File file = file(path);
    if (!file.exists()) {
      throw new FileNotFoundException("No such file or directory: " + makeQualified(path));
    }
    return file;
  }

  /** Without owner and permissions: object storage has none, and Hadoop would start a process to read them. */
  private static FileStatus status(File file, Path path) {
    boolean isFolder = file.isDirectory();
    return new FileStatus(isFolder ? 0 : file.length(), isFolder, 1, BLOCK, file.lastModified(), path);
  }
}
