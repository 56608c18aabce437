package com.amazon.ws.emr.hadoop.fs;

import org.apache.hadoop.fs.s3a.S3AFileSystem;

/** The same folder under a name that older scripts set. */
public class EmrFileSystem extends S3AFileSystem {}
