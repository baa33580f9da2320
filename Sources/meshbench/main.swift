// Glibc also brings libm, which the modules below link against.
import Glibc
import Model

exit(run(Array(CommandLine.arguments.dropFirst())).rawValue)
