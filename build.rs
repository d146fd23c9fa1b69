//! Turns the protobuf contract into Rust code and an embedded descriptor set. No protoc is needed.

use std::path::PathBuf;
use std::{env, error, fs};

/// The entry files; what they import is found by itself.
const FILES: [&str; 6] = [
    "whatsapp/gateway/v1/session.proto",
    "whatsapp/gateway/v1/pairing.proto",
    "whatsapp/gateway/v1/message.proto",
    "whatsapp/gateway/v1/event.proto",
    "whatsapp/gateway/v1/api_key.proto",
    "whatsapp/sandbox/v1/sandbox.proto",
];

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    // Only this form keeps our own options; `file_descriptor_set()` drops them.
    let descriptors = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptors.bin"), &descriptors)?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
