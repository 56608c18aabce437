package org.apache.hadoop.fs.s3a;

import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.DelegateToFileSystem;

/** The same folder by Hadoop's newer interface, which Spark's streaming uses for its checkpoints. */
public class S3A extends DelegateToFileSystem {
  public S3A(URI uri, Configuration conf) throws IOException, URISyntaxException {
    super(uri, new S3AFileSystem(), conf, uri.getScheme(), false);
  }

  @Override
  public int getUriDefaultPort() {
    return -1;
  }
}
