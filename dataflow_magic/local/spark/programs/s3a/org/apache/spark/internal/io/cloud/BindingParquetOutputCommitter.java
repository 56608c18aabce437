package org.apache.spark.internal.io.cloud;

import java.io.IOException;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.parquet.hadoop.ParquetOutputCommitter;

/** Parquet's default under the name that scripts for object storage set. */
public class BindingParquetOutputCommitter extends ParquetOutputCommitter {
  public BindingParquetOutputCommitter(Path path, TaskAttemptContext context) throws IOException {
    super(path, context);
  }
}
