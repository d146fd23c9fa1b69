//! The program's entry: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    whatsapp_gateway::cli::run()
}
