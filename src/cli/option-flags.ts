import { type Command, type Help, Option } from 'commander';
import type { FlagValues } from '../config/load-config.js';
import { type OptionDefinition, type OptionKey, serveOptions } from '../config/serve-options.js';

const helpColumns = 100;

/** Declares options of the table on a command. Values stay as typed; `loadServeConfig` judges all of them at once. */
export function addServeOptions(command: Command, only?: readonly OptionKey[]): Command {
  // Unknown flags, stray words and missing values become problems in the same list as wrong values.
  command.allowUnknownOption().allowExcessArguments();
  for (const definition of serveOptions) {
    if (only?.includes(definition.key) === false) continue;
    if (definition.valueName === null) {
      command.addOption(new Option(definition.flag, describe(definition)));
      command.addOption(new Option(definition.flag.replace('--', '--no-')).hideHelp());
    } else {
      const option = new Option(`${definition.flag} [${definition.valueName}]`, describe(definition));
      command.addOption(definition.repeats ? option.argParser(collect) : option);
    }
  }
  return command;
}

function collect(value: string, previous: unknown): string[] {
  return [...(Array.isArray(previous) ? previous : []), value];
}

function describe(definition: OptionDefinition): string {
  return `${definition.help} (${definition.environmentName}; default: ${definition.defaultText})`;
}

/** The flags that were on the command line, as typed. */
export function flagValues(command: Command): FlagValues {
  const flags: FlagValues = {};
  for (const option of command.options) {
    const definition = serveOptions.find(({ flag }) => flag === option.long);
    if (definition === undefined) continue;
    const value: unknown = command.getOptionValue(option.attributeName());
    if (value === undefined) continue;
    const missing = definition.valueName !== null && value === true;
    flags[definition.key] = missing ? null : (value as string | string[] | boolean);
  }
  return flags;
}

/** `--port <number>` and `--[no-]offline` instead of commander's notation for optional values. */
export function configureOptionHelp(commands: readonly Command[]): void {
  for (const command of commands) {
    command.configureHelp({ helpWidth: helpColumns, optionTerm });
    command.helpOption('-h, --help', 'print this');
    command.helpCommand(false);
  }
}

function optionTerm(this: Help, option: Option): string {
  const definition = serveOptions.find(({ flag }) => flag === option.long);
  if (definition === undefined) return option.flags;
  return definition.valueName === null
    ? definition.flag.replace('--', '--[no-]')
    : `${definition.flag} <${definition.valueName}>`;
}
