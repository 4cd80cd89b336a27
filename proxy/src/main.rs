//! The `herald` binary: the allocator, and `cli::main`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages where the kernel gives them on demand only. The few KiB of each
    // connection would hold many of them: 61 MiB with 1,000 busy connections and not 51, for a
    // hundredth of the CPU time. Refused, Herald is only larger.
    let _only_smaller = rustix::thread::disable_transparent_huge_pages(true);
    herald::cli::main()
}
