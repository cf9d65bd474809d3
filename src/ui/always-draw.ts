/**
 * To be imported before ink, which keeps back every picture but the last where CI or CONTINUOUS_INTEGRATION is set. Whoever
 * asks for a live view has a terminal (the commands look), whatever the environment says.
 */
delete process.env['CI'];
delete process.env['CONTINUOUS_INTEGRATION'];
