//! `gwanmun config`: the compiled configuration, as `istioctl proxy-config` prints it.

mod endpoints;
mod secrets;
mod tables;

use crate::{
    cli::{ConfigArgs, Output, Section},
    target::Target,
};
use gwanmun_ir::Resource;
use std::{io::Write as _, process::ExitCode};

/// Prints one section, or all of them.
pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let target = Target::of(&args.target)?;
    let resources = target.resources()?;
    let mut out = std::io::stdout().lock();
    match args.target.output {
        Output::Json => {
            let chosen: Vec<&Resource> = resources
                .iter()
                .filter(|resource| belongs(args.section, resource))
                .collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&chosen)?)?;
        }
        Output::Text if args.section == Section::All => {
            let sections = [
                Section::Clusters,
                Section::Listeners,
                Section::Routes,
                Section::Endpoints,
                Section::Secrets,
            ];
            for (index, section) in sections.into_iter().enumerate() {
                let gap = if index == 0 { "" } else { "\n" };
                write!(out, "{gap}{}", text(section, &target, &resources)?)?;
            }
        }
        Output::Text => write!(out, "{}", text(args.section, &target, &resources)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(section: Section, target: &Target, resources: &[Resource]) -> anyhow::Result<String> {
    Ok(match section {
        Section::All => String::new(),
        Section::Clusters => tables::clusters(resources).to_string(),
        Section::Endpoints => match target {
            Target::Offline(_) => endpoints::configured(resources).to_string(),
            Target::Running(_) => {
                endpoints::running(&target.get("/clusters?format=json")?).to_string()
            }
        },
        Section::Listeners => tables::listeners(resources).to_string(),
        Section::Routes => tables::routes(resources).to_string(),
        Section::Secrets => match target {
            Target::Offline(_) => {
                secrets::configured(resources, jiff::Timestamp::now().as_second()).to_string()
            }
            Target::Running(_) => secrets::running(&target.get("/certs")?),
        },
    })
}

/// Whether a resource is part of a section.
fn belongs(section: Section, resource: &Resource) -> bool {
    if section == Section::All {
        return true;
    }
    section
        == match resource {
            Resource::Chain(_) | Resource::Listener(_) => Section::Listeners,
            Resource::Cluster(_) => Section::Clusters,
            Resource::Endpoints(_) => Section::Endpoints,
            Resource::Route(_) | Resource::L4Route(_) => Section::Routes,
            Resource::Secret(_) => Section::Secrets,
        }
}
