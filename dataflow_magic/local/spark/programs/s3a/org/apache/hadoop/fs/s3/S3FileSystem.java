package org.apache.hadoop.fs.s3;

import org.apache.hadoop.fs.s3a.S3AFileSystem;

/** The same folder under a name that older scripts set. */
public class S3FileSystem extends S3AFileSystem {}
