//! Messages and client stubs of all that the scenario calls.
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../proto");
    let services = [
        "waymark/auth/v1/auth_service.proto",
        "waymark/geo/v1/fence_service.proto",
        "waymark/geo/v1/track_service.proto",
        "waymark/workflow/v1/chart_service.proto",
        "waymark/workflow/v1/task_service.proto",
        "waymark/workflow/v1/workflow_service.proto",
    ];
    let paths: Vec<_> = services.iter().map(|path| root.join(path)).collect();
    tonic_prost_build::configure()
        .build_server(false)
        .compile_protos(&paths, &[root, "/usr/include".into()])?;
    Ok(())
}
