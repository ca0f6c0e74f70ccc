//! Runs other programs, cargo above all.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use serde::Deserialize;
use thiserror::Error;

use crate::root;

/// Why a program did not do what it was run for.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// It did not start.
    #[error("cannot run `{line}`: {source}")]
    Start {
        line: String,
        source: std::io::Error,
    },
    /// It failed.
    #[error("`{line}` failed ({status})")]
    Failed { line: String, status: ExitStatus },
    /// It succeeded, and did not say what was built.
    #[error("cargo built `{package}` without saying where")]
    NoExecutable { package: &'static str },
}

/// The cargo that runs us, at the root.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root());
    command
}

/// A command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or(&program).to_owned();
    let args = command.get_args().map(|arg| {
        let arg = arg.to_string_lossy();
        if arg.is_empty() || arg.contains(|c: char| c.is_whitespace() || "*'\"$".contains(c)) {
            format!("'{}'", arg.replace('\'', "'\\''"))
        } else {
            arg.into_owned()
        }
    });
    std::iter::once(name)
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs it to its end, with our own input and output.
pub(crate) fn run(command: &mut Command) -> Result<ExitStatus, CommandError> {
    command.status().map_err(|source| CommandError::Start {
        line: line(command),
        source,
    })
}

/// Runs it to its end and takes what it prints; it has to succeed.
pub(crate) fn output(command: &mut Command) -> Result<String, CommandError> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| CommandError::Start {
            line: line(command),
            source,
        })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(CommandError::Failed {
            line: line(command),
            status: output.status,
        })
    }
}

/// Runs it to its end and gives it something to read; it has to succeed. What it prints is left out.
pub(crate) fn feed(command: &mut Command, text: &[u8]) -> Result<(), CommandError> {
    let line = line(command);
    let start = |source| CommandError::Start {
        line: line.clone(),
        source,
    };
    let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().map_err(start)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text).map_err(start)?;
    }
    let status = child.wait().map_err(start)?;
    if status.success() {
        Ok(())
    } else {
        Err(CommandError::Failed { line, status })
    }
}

/// Where a tool that cargo installs is; builds it into target/tools if it is not there yet.
pub(crate) fn installed(tool: &str, version: &str) -> Result<PathBuf, CommandError> {
    let tools = root().join("target/tools");
    let program = tools.join("bin").join(tool);
    if !program.exists() {
        let mut install = cargo(["install", "--locked", tool, "--version", version]);
        install.arg("--root").arg(&tools);
        let status = run(&mut install)?;
        if !status.success() {
            return Err(CommandError::Failed {
                line: line(&install),
                status,
            });
        }
    }
    Ok(program)
}

/// Becomes the program, where that is possible: signals and the exit status are then its own, and
/// nothing stays between the terminal and it.
pub(crate) fn become_it(mut command: Command) -> Result<ExitCode, CommandError> {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        let source = command.exec();
        Err(CommandError::Start {
            line: line(&command),
            source,
        })
    }
    #[cfg(not(unix))]
    {
        let code = run(&mut command)?.code();
        Ok(code
            .and_then(|code| u8::try_from(code).ok())
            .map_or(ExitCode::FAILURE, ExitCode::from))
    }
}

/// How druid is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Dev,
    /// Quick to run.
    Release,
}

/// Builds druid and says where it is.
pub(crate) fn build_druid(profile: Profile) -> Result<PathBuf, CommandError> {
    #[derive(Deserialize)]
    struct Message {
        #[serde(default)]
        executable: Option<PathBuf>,
    }
    let mut build = cargo([
        "build",
        "--locked",
        "--workspace",
        "--bin=druid",
        "--message-format=json-render-diagnostics",
    ]);
    if profile == Profile::Release {
        build.arg("--release");
    }
    output(&mut build)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable)
        .next_back()
        .ok_or(CommandError::NoExecutable { package: "druid" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "it's", "a*", ""]);
        assert_eq!(line(&command), "cargo test 'it'\\''s' 'a*' ''");
    }
}
