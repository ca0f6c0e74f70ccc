//! A database on its way into a file: its pages in order, then the two that make it one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use druid_core::bolt::{Drained, PageSize};

/// Takes rows; their pages go into the file, which has to be empty.
pub(super) fn into_file(
    file: &File,
) -> Drained<impl FnMut(&mut Vec<u8>) -> io::Result<()> + use<'_>> {
    let mut at = 2 * PageSize::DEFAULT.bytes();
    Drained::new(PageSize::DEFAULT, move |pages: &mut Vec<u8>| {
        file.write_all_at(pages, at)?;
        at += pages.len() as u64;
        pages.clear();
        Ok(())
    })
}

/// After the last row. Returns the size of the database.
pub(super) fn close<F>(sink: Drained<F>, file: &File) -> io::Result<u64>
where
    F: FnMut(&mut Vec<u8>) -> io::Result<()>,
{
    let finish = sink.finish()?;
    file.write_all_at(&finish.metas, 0)?;
    Ok(finish.bytes)
}
