package org.apache.hadoop.fs.s3a.commit;

import java.io.IOException;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.lib.output.PathOutputCommitter;
import org.apache.hadoop.mapreduce.lib.output.PathOutputCommitterFactory;

/** Hadoop's default for s3a. A rename is atomic in a folder, so the plain committer is the right one. */
public class S3ACommitterFactory extends PathOutputCommitterFactory {
  @Override
  public PathOutputCommitter createOutputCommitter(Path path, TaskAttemptContext context) throws IOException {
    return createFileOutputCommitter(path, context);
  }
}
