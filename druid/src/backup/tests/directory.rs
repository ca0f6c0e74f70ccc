//! A store in a directory.

use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use bytes::Bytes;

use crate::store::{Answer, Body, ErrorKind, Listed, Piece, Store, StoreError};

#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    fn error(key: &str, error: &std::io::Error) -> StoreError {
        StoreError {
            verb: "use",
            object: key.to_owned(),
            kind: ErrorKind::Other(error.to_string()),
        }
    }
}

impl Store for Directory {
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>> {
        Box::pin(async move {
            let mut found = Vec::new();
            let mut open = vec![self.0.clone()];
            while let Some(directory) = open.pop() {
                for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                    let path = entry.path();
                    if path.is_dir() {
                        open.push(path);
                        continue;
                    }
                    let key = path.strip_prefix(&self.0).unwrap().to_str().unwrap();
                    if key.starts_with(prefix) && !key.ends_with(".part") {
                        found.push(Listed {
                            key: key.to_owned(),
                            bytes: Some(entry.metadata().unwrap().len()),
                            immutable_until: None,
                        });
                    }
                }
            }
            Ok(found)
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Listed>> {
        Box::pin(async move {
            let listed = self.list(key).await?;
            Ok(listed.into_iter().find(|it| it.key == key))
        })
    }

    fn get<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let file = std::fs::File::open(self.0.join(key)).map_err(|it| Self::error(key, &it))?;
            let end = file.metadata().unwrap().len().min(range.end);
            let mut bytes = vec![0; usize::try_from(end - range.start).unwrap()];
            file.read_exact_at(&mut bytes, range.start)
                .map_err(|it| Self::error(key, &it))?;
            Ok(bytes.into())
        })
    }

    fn put<'a>(&'a self, key: &'a str, mut body: Body) -> Answer<'a, u64> {
        Box::pin(async move {
            let path = self.0.join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let part = path.with_extension("part");
            let mut file = std::fs::File::create(&part).map_err(|it| Self::error(key, &it))?;
            let mut written = 0;
            loop {
                match body.pieces.recv().await {
                    Some(Piece::Bytes(bytes)) => {
                        file.write_all(&bytes).map_err(|it| Self::error(key, &it))?;
                        written += bytes.len() as u64;
                    }
                    Some(Piece::End) => break,
                    None => {
                        std::fs::remove_file(&part).unwrap();
                        return Err(StoreError {
                            verb: "write",
                            object: key.to_owned(),
                            kind: ErrorKind::Abandoned,
                        });
                    }
                }
            }
            std::fs::rename(&part, &path).map_err(|it| Self::error(key, &it))?;
            Ok(written)
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            std::fs::remove_file(self.0.join(key)).map_err(|it| Self::error(key, &it))
        })
    }
}
