//! Jobs: long work on disks that goes on while the guest runs; the events of QEMU's `job`, and those of `block-core` that
//! are about jobs.

use super::block::{BlockErrorAction, IoOperationType};
use super::schema::{choice, event};

choice! {
    /// What kind of job (`JobType`; up to QEMU 2.12 `BlockJobType`).
    JobType {
        /// What was written to an overlay moves into the image below it.
        Commit = "commit",
        /// What lies in the images below moves up into the overlay.
        Stream = "stream",
        /// A disk is copied, and kept up with while it is written.
        Mirror = "mirror",
        /// A disk is copied as it was at one moment.
        Backup = "backup",
        /// An image is created, since QEMU 3.0.
        Create = "create",
        /// An image gets other options, since QEMU 5.1.
        Amend = "amend",
        /// A snapshot of the whole machine is loaded, since QEMU 6.0.
        SnapshotLoad = "snapshot-load",
        /// A snapshot of the whole machine is saved, since QEMU 6.0.
        SnapshotSave = "snapshot-save",
        /// A snapshot of the whole machine is deleted, since QEMU 6.0.
        SnapshotDelete = "snapshot-delete",
    }
}

choice! {
    /// The state of a job (`JobStatus`).
    JobStatus {
        /// None yet: no job is seen in it.
        Undefined = "undefined",
        /// It was made, and has not started.
        Created = "created",
        /// It works.
        Running = "running",
        /// It was working, and is paused.
        Paused = "paused",
        /// It caught up, and goes on until it is told to complete.
        Ready = "ready",
        /// It caught up, and is paused.
        Standby = "standby",
        /// Its work is done, and it waits for the others of its transaction.
        Waiting = "waiting",
        /// Its work is done, and it waits for `job-finalize`.
        Pending = "pending",
        /// It failed or was cancelled, and cleans up.
        Aborting = "aborting",
        /// It is over, and waits for `job-dismiss`.
        Concluded = "concluded",
        /// It is gone.
        Null = "null",
    }
}

event! {
    /// A block job was cancelled.
    BlockJobCancelled = "BLOCK_JOB_CANCELLED", since "1.1" {
        /// What kind of job.
        job_type = "type": JobType;
        /// The id of the job: up to QEMU 2.6 the name of the drive, and often still the same.
        device: Box<str>;
        /// How much there was to do, in bytes. It may change while the job runs.
        len: i64;
        /// How much of it was done, in bytes.
        offset: i64;
        /// How fast it may go, in bytes a second; 0 for no limit.
        speed: i64;
    }
}

event! {
    /// A block job is over, well or with an error.
    BlockJobCompleted = "BLOCK_JOB_COMPLETED", since "1.1" {
        /// What kind of job.
        job_type = "type": JobType;
        /// The id of the job: up to QEMU 2.6 the name of the drive, and often still the same.
        device: Box<str>;
        /// How much there was to do, in bytes.
        len: i64;
        /// How much of it was done, in bytes: less than `len` when it failed.
        offset: i64;
        /// How fast it might go, in bytes a second; 0 for no limit.
        speed: i64;
        /// Why it failed, for people only. Absent when it went well.
        error: Option<Box<str>>;
    }
}

event! {
    /// A read or write of a block job failed.
    BlockJobError = "BLOCK_JOB_ERROR", since "1.3" {
        /// The id of the job: up to QEMU 2.6 the name of the drive, and often still the same.
        device: Box<str>;
        /// What the job was doing.
        operation: IoOperationType;
        /// What became of it.
        action: BlockErrorAction;
    }
}

event! {
    /// A block job has done its work, and waits for `job-finalize`, because it was started with `auto-finalize` off.
    BlockJobPending = "BLOCK_JOB_PENDING", since "2.12" {
        /// What kind of job.
        job_type = "type": JobType;
        /// The id of the job.
        id: Box<str>;
    }
}

event! {
    /// A block job, a mirror for one, caught up and can be told to complete.
    BlockJobReady = "BLOCK_JOB_READY", since "1.3" {
        /// What kind of job.
        job_type = "type": JobType;
        /// The id of the job: up to QEMU 2.6 the name of the drive, and often still the same.
        device: Box<str>;
        /// How much there was to do, in bytes. It may change while the job runs.
        len: i64;
        /// How much of it is done, in bytes: as much as `len`.
        offset: i64;
        /// How fast it may go, in bytes a second; 0 for no limit.
        speed: i64;
    }
}

event! {
    /// A job went from one state to the next.
    JobStatusChange = "JOB_STATUS_CHANGE", since "3.0" {
        /// The id of the job.
        id: Box<str>;
        /// The state that it is in now.
        status: JobStatus;
    }
}
