import { Args, Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { identityArgument, issueCertificate } from '../../src/cluster/cert-tool.js';
import type { TlsFiles } from '../../src/net/tls.js';

export default class CertIssue extends AuroraCommand {
  static override summary = 'Make a certificate for a storage node, compute or tool on another machine.';
  static override description =
    'Writes ca.crt, and a file with certificate and private key, into a folder. Take both to the other machine over a safe way, and name them there as caFile, certFile and keyFile (the second file stands for both).';
  static override examples = [
    '<%= config.bin %> cert issue -D ./aurora-data node:4 --host 10.0.0.4 --host storage4.example.net -o ./node4',
    '<%= config.bin %> cert issue -D ./aurora-data compute:replica1 -o ./replica1',
    '<%= config.bin %> cert issue -D ./aurora-data tool -o ./monitoring',
  ];
  static override args = {
    member: Args.string({
      ignoreStdin: true,
      required: true,
      description: 'node:ID, compute:NAME or tool',
    }),
  };
  static override flags = {
    ...clusterFlag,
    host: Flags.string({
      description: 'address or name that a node is dialled at',
      multiple: true,
      helpValue: 'HOST',
    }),
    output: Flags.string({
      char: 'o',
      description: 'folder for the files',
      required: true,
      helpValue: 'DIR',
    }),
  };
  static override enableJsonFlag = true;

  async run(): Promise<TlsFiles> {
    const { args, flags } = await this.parse(CertIssue);
    const root = this.requireCluster(flags.pgdata);
    const files = await issueCertificate(root, identityArgument(args.member), flags.host ?? [], flags.output);
    this.log(`${files.caFile}\n${files.certFile}`);
    return files;
  }
}
