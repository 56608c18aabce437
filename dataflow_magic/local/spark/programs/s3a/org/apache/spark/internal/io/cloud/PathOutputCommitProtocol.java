package org.apache.spark.internal.io.cloud;

import org.apache.spark.internal.io.HadoopMapReduceCommitProtocol;

/** Spark's default under the name that scripts for object storage set. */
public class PathOutputCommitProtocol extends HadoopMapReduceCommitProtocol {
  public PathOutputCommitProtocol(String job, String path, boolean dynamicPartitionOverwrite) {
    super(job, path, dynamicPartitionOverwrite);
  }
}
