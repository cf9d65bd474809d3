import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { certificateTable, listCertificates } from '../../src/cluster/cert-tool.js';
import type { MemberCertificate } from '../../src/cluster/certificates.js';

export default class CertList extends AuroraCommand {
  static override summary =
    "Show the cluster's TLS certificates: whose each is, for which addresses, until when.";
  static override examples = ['<%= config.bin %> cert list -D ./aurora-data'];
  static override flags = { ...clusterFlag };
  static override enableJsonFlag = true;

  async run(): Promise<MemberCertificate[]> {
    const { flags } = await this.parse(CertList);
    const certificates = listCertificates(this.requireCluster(flags.pgdata));
    this.log(certificateTable(certificates));
    return certificates;
  }
}
