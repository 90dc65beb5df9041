//! Generates the messages and stubs of `proto/configuration.proto`, without a protobuf compiler.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/configuration.proto");
    let files = protox::compile(["proto/configuration.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".gwanmun.discovery.v1.Resource.body")
        .btree_map(".")
        .compile_fds(files)?;
    Ok(())
}
