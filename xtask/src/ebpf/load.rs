//! Loads each program of an object into the running kernel, whose verifier reads it, and drops it.

use aya::EbpfLoader;
use aya::programs::{Program, ProgramError};

use proxy_common::load::WORKERS_MAX;
use proxy_common::{LAYOUT_GLOBAL, LAYOUT_VERSION};

use super::objects::Object;
use crate::command::Failure;

/// Fails when the verifier refuses a program, or when nobody may ask it.
pub(super) fn load(object: &Object) -> Result<(), Failure> {
    let at =
        |error: &dyn std::error::Error| Failure::new(format!("{}: {}", object.name, chain(error)));
    let (workers, yes) = (WORKERS_MAX, 1_u32);
    let mut loader = EbpfLoader::new();
    // The verifier knows the globals' values: with these it has the most to follow.
    loader.override_global(LAYOUT_GLOBAL, &LAYOUT_VERSION, true);
    loader.override_global("WORKER_COUNT", &workers, true);
    loader.override_global("WANTS_EVENTS", &yes, object.name == "steering");
    let mut loaded = loader.load(&object.bytes).map_err(|error| at(&error))?;
    for (name, program) in loaded.programs_mut() {
        let info = verified(program).map_err(|error| at(&error))?;
        println!("{}: {name}: {info}", object.name);
    }
    Ok(())
}

fn verified(program: &mut Program) -> Result<String, ProgramError> {
    let info = match program {
        Program::SkReuseport(program) => {
            program.load()?;
            program.info()
        }
        Program::SkLookup(program) => {
            program.load()?;
            program.info()
        }
        Program::SockOps(program) => {
            program.load()?;
            program.info()
        }
        _ => return Err(ProgramError::UnexpectedProgramType),
    }?;
    let bytes = info.size_translated().unwrap_or(0);
    let seen = info.verified_instruction_count().unwrap_or(0);
    Ok(format!(
        "{} instructions, the verifier followed {seen}",
        bytes / 8
    ))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
