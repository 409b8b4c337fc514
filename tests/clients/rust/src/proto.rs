//! What build.rs generated, in modules nested as the packages are.

macro_rules! packages {
    ($($name:ident $package:tt),*) => {
        pub mod waymark {
            $(pub mod $name {
                pub mod v1 {
                    #![allow(clippy::all)]
                    tonic::include_proto!($package);
                }
            })*
        }
    };
}

packages!(auth "waymark.auth.v1", geo "waymark.geo.v1", workflow "waymark.workflow.v1");
