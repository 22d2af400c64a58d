//! RocksDB's options, for a small machine that the engine shares: a bounded cache, small memtables, two background
//! threads, a bounded log.

use rocksdb::{BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, LogLevel, Options};

/// Blocks, indexes and filters of all column families together.
const BLOCK_CACHE_BYTES: usize = 64 << 20;

/// One memtable; each column family has at most three.
const WRITE_BUFFER_BYTES: usize = 16 << 20;

/// Above it, the column families that hold back the log are flushed.
const LOG_MAX_BYTES: u64 = 128 << 20;

/// Options that share one block cache.
pub(super) struct Shared {
    cache: Cache,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { cache: Cache::new_lru_cache(BLOCK_CACHE_BYTES) }
    }

    pub(super) fn database() -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_paranoid_checks(true);
        options.set_max_background_jobs(2);
        options.set_max_subcompactions(1);
        options.set_max_open_files(256);
        options.set_max_total_wal_size(LOG_MAX_BYTES);
        // Written files reach the disk as they grow rather than in one stall at their end, which the journal would feel.
        options.set_bytes_per_sync(1 << 20);
        options.set_wal_bytes_per_sync(1 << 20);
        // The list of files is a few KiB; four MiB reserved for it would be missing to the journal on a disk that is nearly full.
        options.set_manifest_preallocation_size(64 << 10);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(1 << 20);
        options.set_log_level(LogLevel::Warn);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }

    /// For a database that another process may write to: every file is opened at once and kept open, so that it stays
    /// readable after the writer has deleted it.
    pub(super) fn read_only_database() -> Options {
        let mut options = Self::database();
        options.create_if_missing(false);
        options.create_missing_column_families(false);
        options.set_max_open_files(-1);
        options
    }

    pub(super) fn family(&self, name: &str) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(8 << 10);
        // Indexes and filters count against the cache, so that memory is bounded; in partitions of a few KiB, for whole ones
        // push one another out of it, and reading half a megabyte again cost 30 us a lookup.
        table.set_cache_index_and_filter_blocks(true);
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(true);
        table.set_metadata_block_size(4 << 10);
        table.set_pin_top_level_index_and_filter(true);
        table.set_format_version(5);
        if name != super::CHECKPOINTS {
            table.set_bloom_filter(10.0, false);
        }
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_write_buffer_number(3);
        options.set_target_file_size_base(32 << 20);
        options.set_max_bytes_for_level_base(128 << 20);
        options.set_level_compaction_dynamic_level_bytes(true);
        options
    }
}
