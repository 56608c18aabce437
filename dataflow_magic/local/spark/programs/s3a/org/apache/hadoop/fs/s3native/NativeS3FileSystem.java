package org.apache.hadoop.fs.s3native;

import org.apache.hadoop.fs.s3a.S3AFileSystem;

/** The same folder under a name that older scripts set. */
public class NativeS3FileSystem extends S3AFileSystem {}
