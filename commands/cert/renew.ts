import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { certificateTable, renewCertificates } from '../../src/cluster/cert-tool.js';
import type { MemberCertificate } from '../../src/cluster/certificates.js';

export default class CertRenew extends AuroraCommand {
  static override summary =
    "Give every member of the cluster a new key and certificate, signed by the cluster's own authority.";
  static override description =
    'Running daemons use the new ones for their next connections, without a restart. "aurora start" renews by itself what has less than a third of its time left.';
  static override examples = ['<%= config.bin %> cert renew -D ./aurora-data'];
  static override flags = { ...clusterFlag };
  static override enableJsonFlag = true;

  async run(): Promise<MemberCertificate[]> {
    const { flags } = await this.parse(CertRenew);
    const certificates = await renewCertificates(this.requireCluster(flags.pgdata));
    this.log(certificateTable(certificates));
    return certificates;
  }
}
